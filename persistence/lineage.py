"""Which part of a journal counts: the line. Pure.

A claim names the position that it follows. That is the end of the journal, or after a rollback an older position P. Nothing
is deleted then: what lies between P and the claim stays in the journal, but it is off the line.

    1-0 ─ 1-1 ─ 1-2 ─ 2-0 ─ 2-1 ─ 2-2           the claim 3-0 names 1-2; so the line of 3-1 is 1-0 1-1 1-2 3-0 3-1,
                 └──────────────────── 3-0 ─ 3-1     and 2-0 to 2-2 are off it

So a journal is a tree, and the *line* of a position is the way from the journal's beginning to it: of each epoch on it the
events up to the position that the next epoch's claim names. What is off the line of the journal's end is rebuilt from by
nobody, replayed to nobody, and kept only as long as the trimming lets it be. A later rollback may lead to it again.

Two views of it: `Line` is exact, and needs the claims, so somebody has to read the journal. A `Gap` is what one rollback left
behind, and all that a checkpoint needs to carry to tell which of the older ones are off its line.

Invariants: a position is above the one that it follows, so positions on a line only grow; no position comes twice, since a
claim's epoch is above the journal's end and not only above the position that it names.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from undying.protocol.position import Position


@dataclass(frozen=True, slots=True)
class Line:
    """The line of a position. `ends`: by epoch the last seq that is on it.

    An epoch whose claim is not known (it was trimmed, or is before what was read) is the first one that is told of.
    """

    ends: Mapping[int, int]

    def holds(self, position: Position) -> bool:
        """Tell whether a position is on the line, as far back as it is known."""
        return position.seq <= self.ends.get(position.epoch, -1)

    def events_off(self, other: Line) -> int:
        """Return how many events of this line are not on the other one."""
        return sum(max(0, seq - other.ends.get(epoch, 0)) for epoch, seq in self.ends.items())


def trace(until: Position, named_by: Callable[[int], Position | None]) -> Line:
    """Follow the line of `until` back. `named_by` returns the position that an epoch's claim names, None when it is not known.

    Raises ValueError when a claim names a position that is not before it, and what `named_by` raises.
    """
    ends: dict[int, int] = {}
    while True:
        ends[until.epoch] = until.seq
        before = named_by(until.epoch)
        if before is None:
            return Line(ends)
        if before.epoch >= until.epoch:
            raise ValueError(f"the claim of epoch {until.epoch} names {before.epoch}-{before.seq}, which is not before it")
        until = before


class Gap(NamedTuple):
    """What a rollback left behind: the positions above `after`, up to and with `over`."""

    after: Position
    over: Position

    def holds(self, position: Position) -> bool:
        """Tell whether a position was rolled back over."""
        return self.after < position <= self.over


class Kept(NamedTuple):
    """Which checkpoints stay, and behind which position the journal may be trimmed: None for nowhere yet."""

    positions: list[Position]
    trim_behind: Position | None


def keep_of(positions: Iterable[Position], keep: int, gaps: Collection[Gap]) -> Kept:
    """Choose `keep` of a stream's checkpoints: the newest that are on the line, then the newest of those that are not.

    By position alone, one that was rolled back over would push out the very one that the line stands on. The journal may be
    trimmed only when `keep` stay that are on the line, for the others lead nowhere.
    """
    newest_first = sorted(positions, reverse=True)
    on_line = [position for position in newest_first if not any(gap.holds(position) for gap in gaps)]
    off_line = [position for position in newest_first if position not in on_line]
    return Kept([*on_line, *off_line][:keep], on_line[keep - 1] if len(on_line) >= keep else None)
