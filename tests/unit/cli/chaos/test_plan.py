"""No server bears more faults than it allows for real trouble."""

from collections import Counter

import pytest

from undying.cli.chaos.matrix import CELLS, Cell
from undying.cli.chaos.plan import ENDINGS_MAX, SUPERVISOR_ENDINGS_MAX, TABLES_MAX, Scene, plan


def _endings(scenes: list[Scene]) -> Counter[str]:
    endings: Counter[str] = Counter()
    for cell, faults in scenes:
        endings[cell.target] += faults * (3 if cell.fault == "fail-start" else 1)
    return endings


@pytest.mark.parametrize("repeat", [1, 3, 10])
def test_each_cell_gets_its_faults_and_no_server_bears_too_many(repeat: int) -> None:
    servers = plan(CELLS, repeat)
    fallen: Counter[Cell] = Counter()
    for scenes in servers:
        assert len(scenes) <= TABLES_MAX
        for target, endings in _endings(scenes).items():
            if target.startswith("supervisor"):
                assert endings <= SUPERVISOR_ENDINGS_MAX
            elif target not in ("session", "character"):  # which every table has its own of
                assert endings <= ENDINGS_MAX
        for cell, faults in scenes:
            fallen[cell] += faults
    assert fallen == dict.fromkeys(CELLS, repeat)


def test_fifty_kills_of_sessions_fit_on_the_tables_of_one_server() -> None:
    (scenes,) = plan([Cell("session", "kill", "load")], 50)
    assert [scene.faults for scene in scenes] == [8, 8, 8, 8, 8, 8, 2]
