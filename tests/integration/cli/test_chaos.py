"""`undying chaos`, whole: real faults of a few kinds on a real server, and what its clients felt."""

import json
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.store]

COMMAND = [sys.executable, "-m", "undying.cli.main", "chaos", "--json", "--repeat", "1"]
CELLS = (
    "session:kill:load",
    "character:decide:load",
    "supervisor:sessions:kill:load",
    "gateway:fail-start:load",
    "session:hog:load",
)
RUN_S = 300


def test_nothing_is_lost_repeated_or_out_of_order_whatever_breaks_under_load() -> None:
    only = [word for cell in CELLS for word in ("--only", cell)]
    done = subprocess.run([*COMMAND, *only], capture_output=True, text=True, timeout=RUN_S, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    cells = {cell["id"]: cell for cell in report["cells"]}
    assert set(cells) == set(CELLS)
    for name, cell in cells.items():
        assert [cell[key] for key in ("lost", "repeated", "out_of_order", "refused")] == [0, 0, 0, 0], name
        assert cell["faults"] == 1
        assert cell["acked"] > 0
        assert cell["next_ack_ms"]["max"] > 0
        if not name.startswith("gateway"):
            assert cell["sockets_closed"] == 0, name
