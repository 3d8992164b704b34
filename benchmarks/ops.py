"""The ops of the load, each marked with its number, and how the number is found again in the event that it became.

The number is the op's id (8 digits) and travels in its arguments: at the front of a chat line, as the coordinates of a
token, as the label of a roll. So every delivery can be traced to its op without keeping anything by position.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, Final, cast

import msgpack

from benchmarks.wire import masked

NUMBER_MAX: Final = 99_999_999
LINE: Final = "I draw my sword and step through the door."

_SIDE: Final = 1_000_000
"""Coordinates are bounded; a number is written as `y * _SIDE + x`."""


@dataclass(frozen=True, slots=True)
class Mix:
    """How many of 100 ops are of each kind. Raises ValueError when they are not 100."""

    say: int = 80
    move: int = 10
    roll: int = 10

    def __post_init__(self) -> None:
        if self.say + self.move + self.roll != 100 or min(self.say, self.move, self.roll) < 0:
            raise ValueError("a mix adds up to 100")

    def draw(self, rng: random.Random) -> str:
        """Return the kind of the next op."""
        at = rng.random() * 100
        return "chat.say" if at < self.say else "token.move" if at < self.say + self.move else "dice.roll"


def op_frame(number: int, stream: str, kind: str, token: str) -> bytes:
    """Return the client frame of one op of the load. `token` is the client's own, for moves."""
    if kind == "chat.say":
        args: dict[str, object] = {"text": f"{number:08d} {LINE}"}
    elif kind == "token.move":
        y, x = divmod(number, _SIDE)
        args = {"id": token, "x": x, "y": y}
    else:
        args = {"expr": "1d20+5", "label": f"{number:08d}"}
    return frame({"t": "op", "id": f"{number:08d}", "s": stream, "k": kind, "d": args})


def frame(message: dict[str, object]) -> bytes:
    """Return the client frame of any message."""
    return masked(cast(bytes, msgpack.packb(message)))


def number_of(event: dict[str, Any]) -> int | None:
    """Return the number of the op that an event came of, None for an event that the load did not ask for."""
    kind: str = event.get("k", "")
    data: dict[str, Any] = event.get("d", {})
    if kind == "chat.said":
        return int(data["text"][:8])
    if kind == "token.moved":
        return int(data["y"]) * _SIDE + int(data["x"])
    return int(data["label"]) if kind == "dice.rolled" else None
