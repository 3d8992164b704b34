"""A cluster of our own leaves nothing behind: no process, no word on stdout, no file in the home directory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

SCRIPT = """
import asyncio, json, os, pathlib, sys
import psutil
from actors.ray_cluster import ClusterSettings, ray_cluster
from actors.runtime import Program

async def main():
    settings = ClusterSettings("tests.contract.runtime_programs:WIRING", directory=pathlib.Path(sys.argv[1]))
    async with ray_cluster(settings) as cluster:
        runtime = cluster.runtime
        for name in ("a", "b"):
            ref = await runtime.spawn(name, Program("counter"))
        os.kill((await ref.info()).pid, 9)
        await ref.watch()
        children = psutil.Process().children(recursive=True)
        listening = {c.laddr.ip for p in children for c in p.net_connections("tcp") if c.status == "LISTEN"}
    left = len(psutil.Process().children(recursive=True))
    print(json.dumps({"pids": [child.pid for child in children], "left": left, "ips": sorted(listening)}))

asyncio.run(main())
"""


@pytest.mark.ray
def test_a_cluster_that_was_stopped_leaves_nothing_behind(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="undying-") as directory:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, directory],
            env={**os.environ, "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert len(told["pids"]) >= 3
    assert told["left"] == 0
    assert not [pid for pid in told["pids"] if psutil.pid_exists(pid)]
    assert set(told["ips"]) <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    assert list(tmp_path.iterdir()) == []
