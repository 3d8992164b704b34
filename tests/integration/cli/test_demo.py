"""`undying demo`, whole: a real server, real clients, three kills, and a verdict."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

pytestmark = [pytest.mark.ray, pytest.mark.store]

COMMAND = [sys.executable, "-m", "undying.cli.main", "demo", "--json"]
RUN_S = 300
END_S = 120


@pytest.fixture
def session(tmp_path: Path) -> Path:
    """Write a short recorded session of three voices."""
    path = tmp_path / "short.jsonl"
    turns = [{"n": n, "speakers": [("Liz", "Sam", "Ole")[n % 3]], "text": f"Line {n // 2}."} for n in range(60)]
    path.write_text("".join(json.dumps(turn) + "\n" for turn in turns))
    return path


def test_a_recorded_session_survives_three_kills_with_nothing_lost_repeated_or_out_of_order(session: Path) -> None:
    done = subprocess.run([*COMMAND, "--input", str(session)], capture_output=True, text=True, timeout=RUN_S, check=False)
    assert done.returncode == 0, done.stderr
    verdict = json.loads(done.stdout)
    assert [verdict[key] for key in ("turns", "acked", "lost", "repeated", "out_of_order")] == [60, 60, 0, 0, 0]
    assert [kill["id"].partition(":")[0] for kill in verdict["kills"]] == ["session", "character", "gateway"]
    for kill in verdict["kills"]:
        assert 0 <= kill["noticed_ms"] <= kill["live_ms"]


def test_ctrl_c_ends_the_demo_and_its_server() -> None:
    demo = subprocess.Popen(COMMAND, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert demo.stderr is not None
    try:
        for line in demo.stderr:
            if "clients at the table" in line:
                break
        started = psutil.Process(demo.pid).children(recursive=True)
        assert len(started) >= 4  # the server, the store, Ray's own, the processes of the tree
        demo.send_signal(signal.SIGINT)
        demo.communicate(timeout=END_S)
        assert demo.returncode == 130
        _, left = psutil.wait_procs(started, timeout=10)
        assert [process for process in left if process.status() != psutil.STATUS_ZOMBIE] == []
    finally:
        demo.kill()
        demo.communicate()
