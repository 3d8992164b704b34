"""What a person is told who thinks of rolling an entity back: what it can go back to, and what each would cost.

The journal is read whole, as far as it is kept, and never trusted: something in it is damaged, or nobody would ask. So a claim
that can't be read is taken to follow what stands before it, and events are counted by their numbers, not by looking at them.
No state is loaded: that may be what ends processes. Whether one can be is seen when it is tried.
"""

from __future__ import annotations

from dataclasses import dataclass

from persistence.checkpoint import Checkpoint, unseal
from persistence.journal import claimed_after
from persistence.lineage import Line, trace
from persistence.rehydrate import PAGE_ENTRIES
from persistence.store import Damaged, SavedCheckpoint, Store
from undying.protocol.position import NOWHERE, Position


@dataclass(frozen=True, slots=True)
class Choice:
    """A checkpoint. `at_ms`: when it was taken; None when its seal is broken, then it can't be gone back to.

    `on_line` is False when it was rolled back over; `dropped` is how many events would go off the line.
    """

    position: Position
    at_ms: int | None
    on_line: bool
    dropped: int


@dataclass(frozen=True, slots=True)
class Survey:
    """The end of a journal, and its checkpoints, newest first."""

    end: Position
    choices: list[Choice]


class Claims:
    """What the claims of a journal name, by epoch."""

    def __init__(self, named: dict[int, Position]) -> None:
        self._named = named

    def line(self, until: Position) -> Line:
        """Return the line of a position."""
        return trace(until, self._named.get)

    def dropped(self, to: Position, end: Position) -> int:
        """Return how many events go off the line when what ends at `end` is rolled back to `to`."""
        return self.line(end).events_off(self.line(to))


async def read_claims(store: Store, stream: str) -> Claims:
    """Read what the claims name; one that can't be read, or makes no sense, follows what stands before it.

    Raises StoreUnavailable.
    """
    named: dict[int, Position] = {}
    last = NOWHERE
    while page := await store.read(stream, last, PAGE_ENTRIES):
        for entry in page:
            if entry.position.seq == 0:
                try:
                    before = claimed_after(entry)
                except Damaged:
                    before = last
                sensible = before.epoch < entry.position.epoch and (before <= last or last == NOWHERE)
                named[entry.position.epoch] = before if sensible else last
            last = entry.position
    return Claims(named)


async def survey(store: Store, stream: str) -> Survey | None:
    """Look at a stream's journal and checkpoints; None when it has no journal. Raises StoreUnavailable."""
    end = await store.last(stream)
    if end is None:
        return None
    saved = await store.checkpoints(stream)
    claims = await read_claims(store, stream)
    line = claims.line(end)
    choices = []
    for each in saved:
        sound = _unsealed(stream, each)
        dropped = claims.dropped(each.position, end)
        choices.append(Choice(each.position, None if sound is None else sound.at_ms, line.holds(each.position), dropped))
    return Survey(end, choices)


def _unsealed(stream: str, saved: SavedCheckpoint) -> Checkpoint | None:
    try:
        return unseal(stream, saved)
    except Damaged:
        return None
