"""Positions in a stream.

`(epoch, seq)`: seq counts 1, 2, 3 … within an epoch; `(e, 0)` is the claim that opened epoch e and names the position
that it follows. Positions compare as tuples do.
"""

from __future__ import annotations

from typing import NamedTuple


class Position(NamedTuple):
    """Where in a stream: its epoch and the number of an event in it."""

    epoch: int
    seq: int

    def after(self, events: int) -> Position:
        """Return the position `events` further on in the same epoch."""
        return Position(self.epoch, self.seq + events)


NOWHERE = Position(0, 0)
"""Before anything: what the first claim of a stream follows."""


def parse_position(value: object) -> Position | None:
    """Read `[epoch, seq]` as a client sends it; None when it is not two whole numbers of 0 or more."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        return None
    epoch, seq = value
    if type(epoch) is not int or type(seq) is not int or not (0 <= epoch < 2**48) or not (0 <= seq < 2**48):
        return None
    return Position(epoch, seq)
