"""What became of every op of one rung, kept so cheaply that keeping it does not show.

While the clock runs, the ledger only takes down times. What they mean is worked out afterwards: latencies, and whether
what the server did was right. Wrong is: an acknowledged op whose event a client at its table did not get, or got twice;
clients of one table that saw different orders; an op answered twice or not at all; an event of an op that was refused
(one that was answered UNAVAILABLE may have been done, says its answer). Slow is never wrong.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

NO_ANSWER: Final = 0
ACCEPTED: Final = 1
REFUSED: Final = 2
UNKNOWN: Final = 3
"""Refused in a way that leaves open whether it was done."""

_DONE_PERHAPS: Final = "UNAVAILABLE"


@dataclass(frozen=True, slots=True)
class Delivered:
    """The events of one frame: the load's ops in it, in order, and its place in the stream."""

    epoch: int
    first: int
    last: int
    numbers: tuple[int, ...]


@dataclass(slots=True)
class Seen:
    """What one client got: the frames and when."""

    frames: list[tuple[float, Delivered]] = field(default_factory=list)
    ops: int = 0

    def numbers(self) -> list[int]:
        """Return the numbers of the ops in the order in which their events came."""
        return [number for _, delivered in self.frames for number in delivered.numbers]


class Ledger:
    """One rung: ops `base`, `base` + 1, … each of a table (an index). Times are seconds of `time.perf_counter`."""

    def __init__(self, base: int, tables: Sequence[int], seats: int) -> None:
        self.base = base
        self.tables = tables
        self.due_s = array("d", bytes(8 * len(tables)))
        self.answered_s = array("d", bytes(8 * len(tables)))
        self.outcomes = bytearray(len(tables))
        self.refusals: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.accepted = [0] * (max(tables) + 1)
        self.open = len(tables)
        self.seen: dict[tuple[int, int], Seen] = {(table, seat): Seen() for table in set(tables) for seat in range(seats)}

    def answer(self, number: int, at_s: float, code: str | None) -> None:
        """Take down the answer to an op: accepted (no code), or refused."""
        at = number - self.base
        if not 0 <= at < len(self.outcomes):
            self.faults["answer to no op of this rung"] += 1
            return
        if self.outcomes[at] != NO_ANSWER:
            self.faults["op answered twice"] += 1
            return
        self.answered_s[at] = at_s
        self.open -= 1
        if code is None:
            self.outcomes[at] = ACCEPTED
            self.accepted[self.tables[at]] += 1
        else:
            self.outcomes[at] = UNKNOWN if code == _DONE_PERHAPS else REFUSED
            self.refusals[code] += 1

    @property
    def settled(self) -> bool:
        """Tell whether every op has its answer and every client at least as many events as its table's accepted ops."""
        return self.open == 0 and all(seen.ops >= self.accepted[table] for (table, _), seen in self.seen.items())

    def check(self) -> Counter[str]:
        """Return what was wrong, by kind. Called once the rung has settled, or was given up."""
        faults = Counter(self.faults)
        if self.open:
            faults["op never answered"] = self.open
        asked: dict[int, set[int]] = {}
        for at, table in enumerate(self.tables):
            if self.outcomes[at] == ACCEPTED:
                asked.setdefault(table, set()).add(self.base + at)
        orders: dict[int, list[int]] = {}
        for (table, _), seen in self.seen.items():
            got = seen.numbers()
            once = set(got)
            faults["delivery repeated"] += len(got) - len(once)
            faults["delivery lost"] += len(asked.get(table, set()) - once)
            faults["event of an op that was refused"] += sum(self._refused(number) for number in once)
            faults["tables with different orders"] += orders.setdefault(table, got) != got
        return +faults

    def _refused(self, number: int) -> bool:
        at = number - self.base
        return not 0 <= at < len(self.outcomes) or self.outcomes[at] == REFUSED
