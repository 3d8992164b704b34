"""The supervisors over real processes: what `kill -9` ends comes back, and a stop leaves nothing."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from actors.runtime import Program, Runtime
from supervision.locator import Locator
from undying.protocol.data import JsonObject

pytestmark = pytest.mark.ray
TABLE = "session:t"
PATIENCE_S = 30.0


@pytest.fixture
async def tree(ray_runtime: Runtime, tmp_path: Path) -> AsyncIterator[Runtime]:
    from actors.runtime_ray import RayRuntime  # Ray reads the environment that the cluster's start sets

    where = "tests.integration.supervised_programs:WIRING"
    runtime = RayRuntime(where, [where.partition(":")[0]], namespace="supervised")
    root = await runtime.spawn("root", Program("root", {"directory": str(tmp_path)}), restarts=True)
    yield runtime
    await root.call("stop")

    async def ended() -> bool:
        return await runtime.names() == []

    await until(ended)


async def rows(runtime: Runtime) -> dict[str, JsonObject]:
    root = await runtime.find("root")
    assert root is not None
    return {row["id"]: row for row in await root.call("status")}


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await condition():  # noqa: ASYNC110 - what is waited for happens in another process
            await asyncio.sleep(0.02)


def kill_9(row: JsonObject) -> None:
    pid = row["pid"]
    assert isinstance(pid, int)
    os.kill(pid, signal.SIGKILL)


async def test_a_killed_session_and_then_its_killed_supervisor_come_back(tree: Runtime) -> None:
    locator = Locator(tree, random.Random())

    async def spare_is_warm() -> bool:
        return "spare:1" in await rows(tree)

    await until(spare_is_warm)
    first = (await locator.locate(TABLE, create=True)).name
    await until(spare_is_warm)
    kill_9((await rows(tree))[TABLE])
    before = time.perf_counter()
    second = (await locator.locate(TABLE, avoid=first)).name
    print(f"kill -9 to located: {(time.perf_counter() - before) * 1000:.1f} ms")  # noqa: T201 - a figure to look at with -s
    assert second != first
    row = (await rows(tree))[TABLE]
    assert (row["state"], row["epoch"], row["restarts"]) == ("live", 2, 1)

    kill_9((await rows(tree))["supervisor:sessions"])
    assert (await locator.locate(TABLE)).name == second

    async def adopted() -> bool:
        return (await rows(tree)).get(TABLE, {}).get("epoch") == 2

    await until(adopted)
