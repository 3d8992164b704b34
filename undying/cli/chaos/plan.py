"""Which faults fall on which server: pure, so that no fault meets the bounds that are there for real trouble.

A supervisor lets each of its children end so often in a minute (`supervision`: 10 times an entity or a gateway, 5 times a
supervisor); one more is not a restart, but a quarantine. So no server gets more than that of one child, however long it runs; a
table has a session and a character of its own, and is used for one cell. Processes that a crash was in are kept apart from all
others, up to a number (`supervision.placement`), which bounds the tables.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from undying.cli.chaos.matrix import ENTITIES, FAIL_START, FAILING_STARTS, SUPERVISORS, Cell

TABLES_MAX: Final = 7
"""Tables of one server, each of which may leave a host for suspects; one more of those is the provider's."""

ENDINGS_MAX: Final = 8
"""Endings of one entity, of a gateway, of the root or of the store, on one server."""

SUPERVISOR_ENDINGS_MAX: Final = 5
"""The same of a supervisor."""


class Scene(NamedTuple):
    """So many faults of one cell, one after the other, at one table."""

    cell: Cell
    faults: int


@dataclass(slots=True)
class _Room:
    scenes: list[Scene] = field(default_factory=list)
    endings: Counter[str] = field(default_factory=Counter)

    def takes(self, scene: Scene) -> bool:
        victim, endings = scene.cell.target, scene.faults * _cost(scene.cell)
        own_table = victim in ENTITIES and victim != "provider"
        return len(self.scenes) < TABLES_MAX and (own_table or self.endings[victim] + endings <= _endings_max(scene.cell))

    def put(self, scene: Scene) -> None:
        self.scenes.append(scene)
        self.endings[scene.cell.target] += scene.faults * _cost(scene.cell)


def plan(cells: Iterable[Cell], repeat: int) -> list[list[Scene]]:
    """Return the scenes of each server: every cell's fault falls `repeat` times."""
    rooms: list[_Room] = []
    for cell in cells:
        for scene in _scenes(cell, repeat):
            room = next((room for room in rooms if room.takes(scene)), None)
            if room is None:
                room = _Room()
                rooms.append(room)
            room.put(scene)
    return [room.scenes for room in rooms]


def _scenes(cell: Cell, repeat: int) -> Sequence[Scene]:
    at_once = _endings_max(cell) // _cost(cell)
    return [Scene(cell, min(at_once, repeat - done)) for done in range(0, repeat, at_once)]


def _cost(cell: Cell) -> int:
    """Return how many endings one fault of the cell is, at the most: a host that does not start is not counted to anybody."""
    return 1 + FAILING_STARTS if cell.fault == FAIL_START else 1


def _endings_max(cell: Cell) -> int:
    return SUPERVISOR_ENDINGS_MAX if cell.target in SUPERVISORS else ENDINGS_MAX
