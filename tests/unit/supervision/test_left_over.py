"""Processes that a supervisor's death, or a call that got lost, could leave over; the simulation found them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from actors.local_processes import UNDEAD_S
from actors.runtime import CallLost, Ref
from actors.runtime_local import LocalRef
from tests.unit.supervision.world import World
from tests.virtual_time import run_virtual

STREAMS = [f"session:t{number}" for number in range(4)]


def lose_once(monkeypatch: pytest.MonkeyPatch, method: str, times: int = 1) -> None:
    """Lose the next answers of processes to a method."""
    real: Callable[..., Any] = LocalRef.call
    left = [times]

    async def call(ref: LocalRef, called: str, *args: Any) -> Any:
        answer = await real(ref, called, *args)
        if called == method and left[0] > 0 and ref.name.startswith("process:"):
            left[0] -= 1
            raise CallLost(f"the answer to {method}")
        return answer

    monkeypatch.setattr(LocalRef, "call", call)


async def supervisor_of_hosts(world: World) -> Ref:
    ref = await world.runtime.find("supervisor:hosts")
    assert ref is not None
    return ref


async def replaced(world: World, name: str) -> None:
    """Kill a supervisor; return when the next one is up."""
    before = (await world.rows())[name]["pid"]
    world.runtime.crash(name)
    await until_replaced(world, name, before)


async def until_replaced(world: World, name: str, pid: object) -> None:
    async def back() -> bool:
        row = (await world.rows()).get(name, {})
        return row.get("state") == "live" and row["pid"] != pid

    await world.until(back)


def test_a_host_whose_stop_got_lost_does_not_live_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        world = World(spares=1)
        await world.up()
        sessions = await world.runtime.find("supervisor:sessions")
        assert sessions is not None
        homes = {stream: await world.host_of(stream, create=True) for stream in STREAMS}
        lose_once(monkeypatch, "drain", times=len(STREAMS))
        for stream, host in homes.items():
            await sessions.call("rested", host, [(stream, 1)])
        await asyncio.sleep(30)
        assert len(world.runtime.running("host")) <= 1

    run_virtual(scenario(), limit_s=100)


def test_a_host_that_was_left_half_emptied_takes_nobody_in_and_ends() -> None:
    async def scenario() -> None:
        world = World(spares=1)
        await world.up()
        host = await world.host_of(STREAMS[0], create=True)
        ref = await world.runtime.find(host)
        assert ref is not None
        await ref.call("drain")  # as one who died then did
        await replaced(world, "supervisor:hosts")
        assert await world.host_of(STREAMS[1], create=True) != host
        await world.until(lambda: _is_gone(world, host))
        assert await world.host_of(STREAMS[0]) != host

    run_virtual(scenario(), limit_s=100)


async def _is_gone(world: World, process: str) -> bool:
    return await world.runtime.find(process) is None


def test_a_host_that_could_not_be_asked_at_once_is_adopted_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        world = World(spares=1)
        await world.up()
        host = await world.host_of(STREAMS[0], create=True)
        lose_once(monkeypatch, "status")
        await replaced(world, "supervisor:hosts")
        assert await (await supervisor_of_hosts(world)).call("placements") == {STREAMS[0]: host}

    run_virtual(scenario(), limit_s=100)


@pytest.mark.parametrize("name", ["supervisor:hosts", "supervisor:sessions"])
def test_a_supervisor_that_hangs_when_the_root_starts_again_is_replaced(name: str) -> None:
    async def scenario() -> None:
        world = World(spares=1)
        await world.up()
        before = (await world.rows())[name]["pid"]
        world.runtime.freeze(name)
        world.runtime.crash("root")
        await asyncio.sleep(3)
        await until_replaced(world, name, before)
        assert await world.host_of(STREAMS[0], create=True)
        world.runtime.thaw(name)
        await asyncio.sleep(UNDEAD_S)

    run_virtual(scenario(), limit_s=100)


def test_an_activation_that_never_ends_is_tried_again_in_another_host() -> None:
    async def scenario() -> None:
        world = World(spares=1)
        await world.up()
        await world.host_of(STREAMS[0], create=True)
        await world.runtime.kill(await world.host_of(STREAMS[0]))
        world.stuck.add(STREAMS[0])

        async def tried_twice() -> bool:
            return len(world.activations) == 3

        await world.until(tried_twice)
        _, first, second = [host for _, host in world.activations]
        assert first != second

    run_virtual(scenario(), limit_s=100)
