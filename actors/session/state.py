"""The state of a session, and its bounds. Only `evolve` changes it.

Whatever fills up is bounded in number and in bytes: the `weight` of a thing is what it takes in a snapshot, at most. All
bounds together keep a snapshot within `SNAPSHOT_BYTES_MAX`. Sums of weights are kept along, so that no op has to add them up; a
state that is loaded adds them up anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias, cast

import msgpack

from actors.request import Request
from actors.rules import Decision
from undying.protocol.data import JsonObject
from undying.protocol.events import Event
from undying.protocol.fields import utf8_size
from undying.protocol.ids import Role
from undying.protocol.sheet import SheetData

SNAPSHOT_BYTES_MAX: Final = 2 << 20
"""Bytes of a snapshot as MessagePack; not a limit that is looked at, but what the others add up to."""
CHAT_WINDOW: Final = 200
CHAT_BYTES_MAX: Final = 256 << 10
DICE_WINDOW: Final = 200
DICE_BYTES_MAX: Final = 64 << 10
ASKS_WINDOW: Final = 50
ASKS_BYTES_MAX: Final = 128 << 10
ASKS_PENDING_MAX: Final = 20
ASKS_PENDING_BYTES_MAX: Final = 64 << 10
MEMBERS_MAX: Final = 200
REMOVED_MAX: Final = 2_000
NOTES_MAX: Final = 500
NOTES_BYTES_MAX: Final = 1 << 20
NOTES_AUTHOR_MAX: Final = 100
"""Notes of one author who is no game master; so no player takes away the others' room."""
NOTES_AUTHOR_BYTES_MAX: Final = 256 << 10
NOTE_BYTES_MAX: Final = 40_000
TOKENS_MAX: Final = 1_000
TOKENS_BYTES_MAX: Final = 224 << 10
CHARACTERS_MAX: Final = 100
"""Seated characters of a table, those that are being made included."""
CHARACTERS_KNOWN_MAX: Final = 250
"""Characters of a table that are seated or were."""
CHARACTERS_OWNER_MAX: Final = 20
"""Characters of one owner, seated or not, that they make themselves; a game master may give them more."""
CREATIONS_MAX: Final = 20
ROUND_MAX: Final = 1_000_000
THING_BYTES: Final = 128
"""Bytes of the names of a thing's fields, of its numbers and of what MessagePack puts around them, at most."""

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

    @property
    def weight(self) -> int:
        """Return its bytes."""
        return _weight(self.by, self.text, *self.to)


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

    @property
    def weight(self) -> int:
        """Return its bytes."""
        return _weight(self.by, self.expr, self.detail, self.label, self.character)


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

    @property
    def weight(self) -> int:
        """Return its bytes."""
        return _weight(self.id, self.id, self.title, self.text, self.author, *_users(self.visibility))


@dataclass(slots=True)
class Token:
    """Something on the map. `by` put it there, `more` are keys that have no meaning here."""

    id: str
    x: int | float
    y: int | float
    name: str | None
    image: str | None
    size: int | float | str | None
    rotation: int | float | None
    color: str | None
    character: str | None
    hidden: bool
    by: str
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def weight(self) -> int:
        """Return its bytes."""
        size = self.size if isinstance(self.size, str) else None
        more = len(cast(bytes, msgpack.packb(self.more))) if self.more else 0
        return _weight(self.id, self.id, self.name, self.image, size, self.color, self.character, self.by) + more


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

    @property
    def weight(self) -> int:
        """Return its bytes."""
        error = 0 if self.error is None else 2 * THING_BYTES + utf8_size(str(self.error.get("message", "")))
        return _weight(self.id, self.by, self.prompt, self.provider, self.text, *_users(self.visibility)) + error


@dataclass(slots=True)
class SessionState:
    """All of a session. `removed` maps users to when they were last removed, in ms since 1970, also if they came back.

    The last fields are sums of weights, in bytes.
    """

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
    chat_bytes: int = 0
    dice_bytes: int = 0
    notes_bytes: int = 0
    tokens_bytes: int = 0

    def __post_init__(self) -> None:
        self.chat_bytes = sum(line.weight for line in self.chat)
        self.dice_bytes = sum(roll.weight for roll in self.dice)
        self.notes_bytes = sum(note.weight for note in self.notes.values())
        self.tokens_bytes = sum(token.weight for token in self.board.tokens.values())

    def owns(self, user: str, character: str | None) -> bool:
        """Tell whether the character is one of this table that belongs to the user."""
        seat = self.characters.get(character) if character is not None else None
        return seat is not None and seat.owner == user


Decider: TypeAlias = Callable[[SessionState, Request[Any]], Decision]
Evolver: TypeAlias = Callable[[SessionState, Event], None]


def facts(turn: Turn) -> JsonObject:
    """Return all fields of an entry as plain data; `dataclasses.asdict` takes several times as long."""
    return {name: getattr(turn, name) for name in turn.__slots__}


def _users(visibility: str | list[str]) -> list[str]:
    return [] if isinstance(visibility, str) else visibility


def _weight(*texts: str | None) -> int:
    """Return the bytes of a thing that has these texts; each has up to 3 bytes in front of it."""
    return THING_BYTES + sum(3 + utf8_size(text) for text in texts if text is not None)


def trim_window(window: list[ChatLine] | list[DiceRoll], limit: int, size: int, size_max: int) -> int:
    """Drop the oldest until there are at most `limit`, of at most `size_max` bytes; `size` is what they have. Returns it after.

    The newest stays, whatever its size.
    """
    gone = 0
    while len(window) - gone > limit or (size > size_max and len(window) - gone > 1):
        size -= window[gone].weight
        gone += 1
    del window[:gone]
    return size
