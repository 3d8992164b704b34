"""The state of a session, and its bounds. Only `evolve` changes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from actors.request import Request
from actors.rules import Decision
from undying.protocol.data import JsonObject
from undying.protocol.events import Event
from undying.protocol.ids import Role
from undying.protocol.sheet import SheetData

CHAT_WINDOW: Final = 200
DICE_WINDOW: Final = 200
ASKS_WINDOW: Final = 50
MEMBERS_MAX: Final = 200
REMOVED_MAX: Final = 2_000
NOTES_MAX: Final = 500
NOTE_TEXT_MAX: Final = 20_000
NOTES_TEXT_MAX: Final = 1_000_000
"""Characters in all notes of a table together."""
TOKENS_MAX: Final = 1_000
CHARACTERS_MAX: Final = 100
CREATIONS_MAX: Final = 20
ASKS_PENDING_MAX: Final = 20
ROUND_MAX: Final = 1_000_000

Status = Literal["", "active", "paused"]
"""Empty: the session was not created yet."""


@dataclass(slots=True)
class Member:
    """Someone at the table."""

    name: str
    role: Role


@dataclass(slots=True)
class ChatLine:
    """A line of the chat; with `to` a whisper."""

    by: str
    at: int
    text: str
    mode: str
    to: list[str]


@dataclass(slots=True)
class DiceRoll:
    """A roll that was made."""

    by: str
    at: int
    expr: str
    total: int
    detail: str
    mode: str
    label: str | None
    character: str | None


@dataclass(slots=True)
class Turn:
    """One in the initiative order. `by` put it there."""

    id: str
    name: str
    value: int | float
    character: str | None
    hidden: bool
    by: str


@dataclass(slots=True)
class Combat:
    """The order, and whose turn it is (`current` is an entry's id)."""

    active: bool = False
    round: int = 0
    current: str | None = None
    entries: list[Turn] = field(default_factory=list)


@dataclass(slots=True)
class Note:
    """A note. Its author always sees it."""

    id: str
    title: str
    text: str
    visibility: str | list[str]
    author: str


@dataclass(slots=True)
class Token:
    """Something on the map. `by` put it there."""

    id: str
    x: int | float
    y: int | float
    name: str | None
    image: str | None
    size: int | float | None
    rotation: int | float | None
    color: str | None
    character: str | None
    hidden: bool
    by: str


@dataclass(slots=True)
class Board:
    """The scene on the table and the tokens on it."""

    scene: str = ""
    grid: dict[str, Any] | None = None
    image: str | None = None
    tokens: dict[str, Token] = field(default_factory=dict)


@dataclass(slots=True)
class Seat:
    """A character of this table. `owner` None: an NPC of the game masters."""

    name: str
    owner: str | None
    seated: bool


@dataclass(slots=True)
class Creation:
    """A saga under way: a character that is being stored, or (`cause`) whose storing is being undone.

    `user` and `op` name who waits for the answer.
    """

    character: str
    owner: str | None
    sheet: SheetData
    user: str
    op: str
    cause: dict[str, Any] | None = None


@dataclass(slots=True)
class Ask:
    """A question to an AI provider and, once it is there, the answer or the error."""

    id: str
    by: str
    at: int
    prompt: str
    provider: str
    visibility: str | list[str]
    context: list[str]
    text: str | None = None
    degraded: bool = False
    error: dict[str, Any] | None = None

    @property
    def pending(self) -> bool:
        """Tell whether no answer is there yet."""
        return self.text is None and self.error is None


@dataclass(slots=True)
class SessionState:
    """All of a session. `removed` maps users to when they were removed, in seconds since 1970."""

    id: str
    name: str = ""
    status: Status = ""
    members: dict[str, Member] = field(default_factory=dict)
    removed: dict[str, int] = field(default_factory=dict)
    chat: list[ChatLine] = field(default_factory=list)
    dice: list[DiceRoll] = field(default_factory=list)
    combat: Combat = field(default_factory=Combat)
    notes: dict[str, Note] = field(default_factory=dict)
    board: Board = field(default_factory=Board)
    characters: dict[str, Seat] = field(default_factory=dict)
    creations: dict[str, Creation] = field(default_factory=dict)
    asks: dict[str, Ask] = field(default_factory=dict)

    def owns(self, user: str, character: str | None) -> bool:
        """Tell whether the character is one of this table that belongs to the user."""
        seat = self.characters.get(character) if character is not None else None
        return seat is not None and seat.owner == user


Decider: TypeAlias = Callable[[SessionState, Request[Any]], Decision]
Evolver: TypeAlias = Callable[[SessionState, Event], None]


def facts(thing: Turn | Token) -> JsonObject:
    """Return all fields of a thing as plain data. `dataclasses.asdict` takes several times as long, and maps are large."""
    return {name: getattr(thing, name) for name in thing.__slots__}


def trim_window(window: list[Any], limit: int) -> None:
    """Drop the oldest beyond the limit."""
    if len(window) > limit:
        del window[: len(window) - limit]
