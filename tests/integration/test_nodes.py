"""A server on two nodes while people play: a node that is lost costs its tables some seconds and nothing else."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest

from tests.integration.players import Party, party
from tests.integration.ray_nodes import QUIET, Node, Nodes, ray_nodes
from tests.integration.serving import Server, serving
from tests.integration.tcp_store import tcp_store
from undying.cli.management import Management
from undying.protocol.data import JsonObject
from undying.protocol.errors import UndyingError

pytestmark = [pytest.mark.ray, pytest.mark.store]

HANG_S = 5.0
"""`--hang-s` of the server under test, by default: within it, and two heartbeats, a node counts as lost."""

BACK_S_MAX = HANG_S * 1.4 + 10
WITHIN_S = 90.0


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run the store of both, the server and Ray's control service."""
    with tcp_store("127.0.0.1", tmp_path_factory.mktemp("store")) as address:
        yield address


@pytest.fixture(scope="module")
def nodes(store: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """Run a cluster of two nodes for this module."""
    with ray_nodes(2, tmp_path_factory.mktemp("nodes"), RAY_REDIS_ADDRESS=store) as running:
        yield running


@pytest.fixture(scope="module")
def server(nodes: Nodes, store: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serve on it, with a store that is no part of it."""
    options = ["--ray-address", nodes.address, "--redis-url", f"redis://{store}", "--rate-limit", "0", "--spares", "1"]
    with serving(tmp_path_factory.mktemp("server") / "data", *options, **QUIET) as running:
        yield running


async def rows(server: Server) -> dict[str, JsonObject]:
    """Return the rows of the server's status by id; none while it can't tell."""
    management = Management(server.url, server.admin_token)
    try:
        told = (await asyncio.to_thread(management.status))["actors"]
    except UndyingError:
        return {}
    assert isinstance(told, list)
    return {str(row["id"]): row for row in told if isinstance(row, dict)}


async def serves_on(server: Server, nodes: list[Node]) -> None:
    """Return when exactly these nodes have a gateway, and all have a warm spare."""
    wanted = {node.name for node in nodes}
    async with asyncio.timeout(WITHIN_S):
        while True:
            live = [row for row in (await rows(server)).values() if row["state"] == "live"]
            on = {kind: {row["node"] for row in live if row["kind"] == kind} for kind in ("gateway", "spare")}
            if on["gateway"] == wanted <= on["spare"]:
                return
            await asyncio.sleep(0.1)


async def play_through(server: Server, nodes: Nodes, lose: Node) -> None:
    """Play at tables on both nodes, kill or stop one node meanwhile, and check everything."""
    async with AsyncExitStack() as tables:
        playing: list[Party] = []
        while {await node_of(server, each) for each in playing} < {node.name for node in nodes.nodes}:
            playing.append(await tables.enter_async_context(party(server, ["ada"])))
            await serves_on(server, nodes.nodes)
        for each in playing:
            each.begin()
        for each in playing:
            await each.until(more=20)
        hit = [each for each in playing if await node_of(server, each) == lose.name]
        lost_s = time.monotonic()
        lose.kill()
        for each in playing:
            await each.until(more=20, stream=each.streams[0])
        gaps = [each.gap_ms(each.streams[0], lost_s) / 1000 for each in hit]
        print(f"{len(hit)} of {len(playing)} tables were on the lost node: next ack after {gaps} s")  # noqa: T201 - a measurement, for `pytest -s`
        assert max(gaps) < BACK_S_MAX
        for each in playing:
            await each.finish()
            await each.verdict()
            assert await node_of(server, each) != lose.name


async def node_of(server: Server, playing: Party) -> str:
    """Return the node on which a table lives."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            row = (await rows(server)).get(playing.streams[0])
            if row is not None and row["state"] == "live":
                return str(row["node"])
            await asyncio.sleep(0.05)


async def test_tables_play_on_when_a_node_of_two_is_lost_and_another_one_that_joins_is_used(
    server: Server, nodes: Nodes
) -> None:
    await serves_on(server, nodes.nodes)
    lost = nodes.nodes[1]
    await play_through(server, nodes, lost)
    nodes.nodes.remove(lost)
    nodes.add()
    await serves_on(server, nodes.nodes)


async def test_tables_play_on_while_ray_has_no_control_service_and_what_died_meanwhile_comes_back_with_it(
    server: Server, nodes: Nodes
) -> None:
    await serves_on(server, nodes.nodes)
    async with party(server, ["ada"]) as playing, party(server, ["bea"]) as spared:
        for each in (playing, spared):
            each.begin()
            await each.until(more=20)
        pid = (await rows(server))[playing.streams[0]]["pid"]
        assert isinstance(pid, int)
        await asyncio.to_thread(nodes.lose_control)
        for each in (playing, spared):
            await each.until(more=40)
        killed_s = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        await spared.until(more=100)
        await asyncio.to_thread(nodes.regain_control)
        await playing.until(more=20, stream=playing.streams[0])
        gap_s = playing.gap_ms(playing.streams[0], killed_s) / 1000
        print(f"killed without a control service: next ack {gap_s:.1f} s after its kill")  # noqa: T201 - a measurement, for `pytest -s`
        for each in (playing, spared):
            await each.finish()
            await each.verdict()
