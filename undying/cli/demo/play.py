"""What is played: voices, their turns in order, and the characters that take the blows. Plain data, no table needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from undying.protocol.ids import Role

TURNS_MIN: Final = 6
"""Three kills fall on three turns of the second half."""

CHARACTERS_MAX: Final = 4
"""Each is a process of its own; a demo needs one that is killed, and company for it."""


@dataclass(frozen=True, slots=True)
class Voice:
    """Somebody at the table, with a client of their own."""

    name: str
    role: Role = Role.PLAYER


@dataclass(frozen=True, slots=True)
class Say:
    """A chat line."""

    text: str


@dataclass(frozen=True, slots=True)
class Roll:
    """A roll of dice, public."""

    expr: str
    label: str


@dataclass(frozen=True, slots=True)
class Blow:
    """Hit points of a character, by its number in the play: negative ones are damage."""

    character: int
    delta: int
    reason: str


@dataclass(frozen=True, slots=True)
class EndTurn:
    """The next one in the order of the fight."""


Action: TypeAlias = Say | Roll | Blow | EndTurn


@dataclass(frozen=True, slots=True)
class Turn:
    """One thing that one voice (by number) does. The next turn begins when this one is acknowledged."""

    voice: int
    action: Action


@dataclass(frozen=True, slots=True)
class Play:
    """A whole session. Voice 0 is the game master. `characters` are the voices that play one."""

    name: str
    voices: tuple[Voice, ...]
    turns: tuple[Turn, ...]
    characters: tuple[int, ...]

    @property
    def fight(self) -> bool:
        """Tell whether there is an order of initiative to go round."""
        return any(isinstance(turn.action, EndTurn) for turn in self.turns)
