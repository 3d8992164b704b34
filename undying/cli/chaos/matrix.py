"""The matrix: what may break, in which way, under which load; and what came out of a cell. Pure.

    targets    session, character, provider, gateway: the process that it lives in; each supervisor; the root; the store
    faults     kill         `kill -9`
               stop         SIGSTOP, ten seconds later SIGCONT
               decide       an exception: in an entity's rules, at an op that all others of its stream wait for; elsewhere in a
                            task that the process can't go on without
               fail-start   `kill -9`, and the next starts of the same program fail
               hog          the process takes memory until somebody kills it
    loads      idle         nothing is under way when the fault falls; one op is asked right after it
               load         all lanes of the crowd play on

A cell is named `target:fault:load`. The ones that do not exist say why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import product
from typing import Final, NamedTuple

from undying.loadtest.figures import percentile
from undying.protocol.data import JsonObject

ENTITIES: Final = ("session", "character", "provider")
SUPERVISORS: Final = tuple(f"supervisor:{name}" for name in ("hosts", "sessions", "characters", "providers", "gateways"))
GATEWAY: Final = "gateway"
ROOT: Final = "root"
STORE: Final = "store"
TARGETS: Final = (*ENTITIES, GATEWAY, *SUPERVISORS, ROOT, STORE)

KILL: Final = "kill"
STOP: Final = "stop"
DECIDE: Final = "decide"
FAIL_START: Final = "fail-start"
HOG: Final = "hog"
FAULTS: Final = (KILL, STOP, DECIDE, FAIL_START, HOG)

IDLE: Final = "idle"
LOAD: Final = "load"
LOADS: Final = (IDLE, LOAD)

FAILING_STARTS: Final = 2
"""How many starts fail in a `fail-start` cell before one succeeds."""

ABSENT: Final[Mapping[tuple[str, str], str]] = {
    (STORE, DECIDE): "the store is Valkey; none of our code runs in it",
    (STORE, HOG): "nothing bounds the store's memory: it holds every journal, and to kill it for its size would mend nothing",
}
"""The cells that do not exist, by target and fault, and why."""


class Cell(NamedTuple):
    """One cell."""

    target: str
    fault: str
    load: str

    @property
    def id(self) -> str:
        """Return the cell's name."""
        return f"{self.target}:{self.fault}:{self.load}"

    @property
    def feels(self) -> str:
        """Return which kind of entity is asked, to find out how long the fault is felt: the one nearest to the target."""
        kind = self.target.removeprefix("supervisor:").removesuffix("s")
        return kind if kind in ENTITIES else "session"


CELLS: Final = tuple(
    Cell(target, fault, load) for fault, load, target in product(FAULTS, LOADS, TARGETS) if (target, fault) not in ABSENT
)
"""All cells that exist, in the order in which they are run."""


def choose(patterns: Sequence[str]) -> list[Cell]:
    """Return the cells whose name is one of the patterns (`*` for anything); all for none. Raises ValueError for no match."""
    for pattern in patterns:
        if not any(fnmatchcase(cell.id, pattern) for cell in CELLS):
            raise ValueError(f"there is no cell {pattern!r}; cells are called target:fault:load, like {CELLS[0].id}")
    return [cell for cell in CELLS if not patterns or any(fnmatchcase(cell.id, pattern) for pattern in patterns)]


class Felt(NamedTuple):
    """How one fault was felt, in ms from when it fell. None: there was no ack any more; the server never was whole again."""

    next_ack_ms: float | None
    whole_ms: float | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came out of some faults of one cell at one table.

    `refused`: calls of the SDK that failed; `played_s`: how long the lanes played, 0 when they did not. `broken`: why the
    server never recovered, empty when it did.
    """

    felt: tuple[Felt, ...] = ()
    acked: int = 0
    lost: int = 0
    repeated: int = 0
    out_of_order: int = 0
    refused: int = 0
    sockets_closed: int = 0
    played_s: float = 0.0
    broken: str = ""
    examples: tuple[str, ...] = ()


@dataclass(slots=True)
class Result:
    """A cell and all that came out of it."""

    cell: Cell
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def acks_ms(self) -> list[float]:
        """Return how long each fault was felt, as far as it ended."""
        return [felt.next_ack_ms for outcome in self.outcomes for felt in outcome.felt if felt.next_ack_ms is not None]

    @property
    def whole_ms(self) -> list[float]:
        """Return how long it took after each fault until the server was whole."""
        return [felt.whole_ms for outcome in self.outcomes for felt in outcome.felt if felt.whole_ms is not None]

    @property
    def faults(self) -> int:
        """Return how many faults fell."""
        return sum(len(outcome.felt) for outcome in self.outcomes)

    @property
    def broken(self) -> str:
        """Return why the server never recovered, empty when it did."""
        return next((outcome.broken for outcome in self.outcomes if outcome.broken), "")

    @property
    def examples(self) -> list[str]:
        """Return sentences about what went wrong."""
        return [example for outcome in self.outcomes for example in outcome.examples]

    @property
    def kept(self) -> bool:
        """Tell whether nothing was lost, repeated or out of order."""
        return not any(self.total(name) for name in ("lost", "repeated", "out_of_order"))

    @property
    def clean(self) -> bool:
        """Tell whether the same, and the server recovered each time."""
        return self.kept and not self.broken

    def total(self, name: str) -> int:
        """Return the sum of one of the outcomes' counts."""
        return sum(getattr(outcome, name) for outcome in self.outcomes)

    @property
    def ops_per_s(self) -> float | None:
        """Return the acknowledged ops per second of play, the time in which nothing was answered included."""
        played_s = sum(outcome.played_s for outcome in self.outcomes)
        return self.total("acked") / played_s if played_s else None

    def to_json(self) -> JsonObject:
        """Return it as plain data."""
        counts = ("acked", "lost", "repeated", "out_of_order", "refused", "sockets_closed")
        return {
            "id": self.cell.id,
            "target": self.cell.target,
            "fault": self.cell.fault,
            "load": self.cell.load,
            "faults": self.faults,
            **{name: self.total(name) for name in counts},
            "next_ack_ms": _spread(self.acks_ms),
            "whole_ms": _spread(self.whole_ms),
            "ops_per_s": None if self.ops_per_s is None else round(self.ops_per_s, 1),
            "recovered": not self.broken,
            "clean": self.clean,
            "examples": [*([self.broken] if self.broken else []), *self.examples],
        }


def _spread(values: Sequence[float]) -> JsonObject | None:
    if not values:
        return None
    p50, p99 = percentile(values, 0.5), percentile(values, 0.99)
    return {"p50": p50, "p99": p99, "max": max(values), "all": [*values]}


def document(results: Sequence[Result]) -> JsonObject:
    """Return the whole report as plain data."""
    chosen = {(result.cell.target, result.cell.fault) for result in results}
    targets, faults = {target for target, _ in chosen}, {fault for _, fault in chosen}
    return {
        "cells": [result.to_json() for result in results],
        "absent": [
            {"target": target, "fault": fault, "why": why}
            for (target, fault), why in ABSENT.items()
            if target in targets and fault in faults
        ],
        "clean": all(result.clean for result in results),
    }
