"""A node whose network is cut while people play, in a network namespace of its own. Needs root, so it runs when asked for.

UNDYING_NETNS=1 make test ARGS="tests/integration/test_node_cut_off.py -s"
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from tests.integration.players import party
from tests.integration.ray_nodes import QUIET
from tests.integration.serving import Server, serving
from tests.integration.tcp_store import tcp_store
from tests.integration.test_nodes import BACK_S_MAX, node_of, rows

pytestmark = [
    pytest.mark.ray,
    pytest.mark.store,
    pytest.mark.skipif(os.environ.get("UNDYING_NETNS") != "1", reason="set UNDYING_NETNS=1; needs root and `ip`"),
]

SPACE: Final = "undying-test"
HERE, THERE = "10.213.77.1", "10.213.77.2"
RAY_PORT, PORT = 7380, 7381
INSIDE: Final = ("ip", "netns", "exec", SPACE)
ENVIRONMENT: Final = {**QUIET, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1"}
RAY: Final = str(Path(sys.executable).parent / "ray")
UP_S: Final = 60
AGAIN_S: Final = 120.0


def run(*command: str) -> None:
    """Run a command to its end."""
    subprocess.run(command, check=True, capture_output=True, timeout=UP_S, env={**os.environ, **ENVIRONMENT})


@contextmanager
def second_machine() -> Iterator[None]:
    """Have a network namespace with a cable to here."""
    run("ip", "netns", "add", SPACE)
    try:
        run("ip", "link", "add", "undying-here", "type", "veth", "peer", "name", "undying-there", "netns", SPACE)
        run("ip", "addr", "add", f"{HERE}/24", "dev", "undying-here")
        run("ip", "link", "set", "undying-here", "up")
        run(*INSIDE, "ip", "addr", "add", f"{THERE}/24", "dev", "undying-there")
        run(*INSIDE, "ip", "link", "set", "undying-there", "up")
        run(*INSIDE, "ip", "link", "set", "lo", "up")
        yield
    finally:
        subprocess.run(["ip", "link", "del", "undying-here"], check=False, capture_output=True)
        run("ip", "netns", "del", SPACE)


@contextmanager
def started(*command: str) -> Iterator[None]:
    """Have a program run."""
    process = subprocess.Popen(
        command, env={**os.environ, **ENVIRONMENT}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(UP_S)
        except subprocess.TimeoutExpired:
            process.kill()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Serve on two machines, with the store on the first."""
    quiet = ["--num-cpus=0", "--object-store-memory=80000000", "--disable-usage-stats", "--block"]
    head = [RAY, "start", "--head", f"--node-ip-address={HERE}", f"--port={RAY_PORT}", "--include-dashboard=false", *quiet]
    worker = [*INSIDE, RAY, "start", f"--address={HERE}:{RAY_PORT}", f"--node-ip-address={THERE}", *quiet]
    options = ["--host", "0.0.0.0", "--port", str(PORT), "--rate-limit", "0", "--spares", "1"]
    options += ["--ray-address", f"{HERE}:{RAY_PORT}"]
    with second_machine(), tcp_store(HERE, tmp_path) as store, started(*head):
        time.sleep(10)  # Ray says nowhere that a head takes nodes; the block below fails when it does not
        with (
            started(*worker),
            serving(tmp_path / "data", *options, "--redis-url", f"redis://{store}", **ENVIRONMENT) as running,
        ):
            yield running


async def test_tables_of_a_node_that_is_cut_off_play_on_elsewhere_and_the_node_is_used_again_when_it_is_back(
    server: Server,
) -> None:
    await two_nodes_serve(server)
    over_there = replace(server, url=f"http://{THERE}:{PORT}")  # who asks there first gets a table there
    async with party(over_there, ["ada"], play_at=server.url) as hit, party(server, ["bea"]) as other:
        there = await node_of(server, hit)
        hit.begin()
        other.begin()
        await hit.until(more=40)
        cut_s = time.monotonic()
        run("ip", "link", "set", "undying-here", "down")
        await hit.until(more=20, stream=hit.streams[0])
        gap_s = hit.gap_ms(hit.streams[0], cut_s) / 1000
        print(f"the table on the node that was cut off: next ack after {gap_s:.1f} s")  # noqa: T201 - a measurement, for `pytest -s`
        assert gap_s < BACK_S_MAX
        assert await node_of(server, hit) != there
        run("ip", "link", "set", "undying-here", "up")
        await two_nodes_serve(server)
        print(f"both nodes serve again {time.monotonic() - cut_s:.1f} s after the cut")  # noqa: T201
        for playing in (hit, other):
            await playing.until(more=40)
            await playing.finish()
            await playing.verdict()
        assert hit.cut_off() == other.cut_off() == []


async def two_nodes_serve(server: Server) -> None:
    """Return when two nodes have a live gateway and a warm spare each."""
    async with asyncio.timeout(AGAIN_S):
        while True:
            live = [row for row in (await rows(server)).values() if row["state"] == "live"]
            if all(len({row["node"] for row in live if row["kind"] == kind}) == 2 for kind in ("gateway", "spare")):
                return
            await asyncio.sleep(0.2)
