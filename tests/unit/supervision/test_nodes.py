"""Several nodes: who comes where, what a lost one means, and how one is emptied or everything replaced."""

from __future__ import annotations

import asyncio

import pytest

from actors.runtime import Ref, RuntimeFault
from supervision.placement import Budget
from tests.unit.supervision.world import World
from tests.virtual_time import run_virtual
from undying.protocol.data import JsonObject
from undying.protocol.errors import Code, UndyingError

STREAMS = [f"session:{number}" for number in range(6)]
HANG_S = 5.0
"""The heartbeat's patience, by default."""


async def seat(world: World) -> dict[str, str]:
    """Bring all streams to life; returns their hosts."""
    return {stream: await world.host_of(stream, create=True) for stream in STREAMS}


async def nodes_of(world: World, kind: str) -> list[str]:
    """Return the nodes of all rows of a kind."""
    return [str(row["node"]) for row in (await world.rows()).values() if row["kind"] == kind and row["state"] == "live"]


async def all_on(world: World, node: str) -> bool:
    """Tell whether all streams live on this node."""
    return await nodes_of(world, "session") == [node] * len(STREAMS)


async def ask_again_and_again(world: World) -> None:
    while True:
        for stream in STREAMS:
            await world.host_of(stream)
        await asyncio.sleep(0.001)


def test_tables_spares_and_gateways_spread_over_the_nodes() -> None:
    async def scenario() -> None:
        world = World(nodes=["n1", "n2"], spares=2)
        await world.up()
        await seat(world)
        assert set(await nodes_of(world, "session")) == {"n1", "n2"}
        assert sorted(await nodes_of(world, "gateway")) == ["n1", "n2"]
        assert {row["id"] for row in (await world.rows()).values() if row["kind"] == "gateway"} == {"gateway:1", "gateway:2"}

    run_virtual(scenario(), limit_s=100)


def test_shared_hosts_are_on_both_nodes_past_the_budgets() -> None:
    async def scenario() -> None:
        world = World(nodes=["n1", "n2"], budget=Budget(hosts_per_node=1))
        await world.up()
        homes = await seat(world)
        assert len(set(homes.values())) == 2

    run_virtual(scenario(), limit_s=100)


def test_a_node_that_joins_gets_gateways_spares_and_the_next_tables() -> None:
    async def scenario() -> None:
        world = World(nodes=["n1"])
        await world.up()
        await world.host_of("session:old", create=True)
        await world.host_of("session:older", create=True)
        world.runtime.add_node("n2")
        await world.until(world.is_calm)
        await world.host_of("session:new", create=True)
        assert (await world.rows())["session:new"]["node"] == "n2"

    run_virtual(scenario(), limit_s=100)


@pytest.mark.parametrize("noticed_s", [0.5, 15.0])
def test_the_tables_of_a_lost_node_come_back_on_the_other_one_and_its_gateway_is_forgotten(noticed_s: float) -> None:
    async def scenario() -> None:
        world = World(nodes=["n1", "n2"])
        await world.up()
        await seat(world)
        begun = world.clock()
        world.runtime.lose_node("n2", noticed_s)

        async def moved() -> bool:
            return await all_on(world, "n1")

        await world.until(moved)
        assert world.clock() - begun < min(noticed_s, HANG_S * 1.5) + 3
        assert await world.host_of("session:new", create=True)

        async def forgotten() -> bool:
            return await nodes_of(world, "gateway") == ["n1"]

        await world.until(forgotten)
        assert "supervisor:gateways" in await world.runtime.names()

    run_virtual(scenario(), limit_s=200)


def test_a_node_that_was_cut_off_is_used_again_when_it_is_back_and_nothing_of_its_past_lives_on() -> None:
    async def scenario() -> None:
        world = World(nodes=["n1", "n2"])
        await world.up()
        before = await seat(world)
        rows = await world.rows()
        lost = {host for stream, host in before.items() if rows[stream]["node"] == "n2"}
        world.runtime.cut_off("n2")

        async def moved() -> bool:
            return await all_on(world, "n1")

        await world.until(moved)
        world.runtime.join_again("n2")
        await world.until(world.is_calm)
        assert lost.isdisjoint(await world.runtime.names())
        assert "n2" in await nodes_of(world, "gateway")
        await world.host_of("session:new", create=True)
        assert (await world.rows())["session:new"]["node"] == "n2"

    run_virtual(scenario(), limit_s=200)


def test_a_drained_node_is_left_by_all_and_gets_nothing_new_until_it_is_used_again() -> None:
    async def scenario() -> None:
        world = World(nodes=["n1", "n2"])
        root = await world.up()
        await seat(world)
        asking = asyncio.create_task(ask_again_and_again(world))
        hosts = (await nodes_of(world, "session")).count("n2")
        assert await root.call("drain", "n2") == {"node": "n2", "hosts": hosts, "gateways": 1}

        async def left() -> bool:
            rows = (await world.rows()).values()
            return await all_on(world, "n1") and not any(row["node"] == "n2" for row in rows)

        await world.until(left)
        asking.cancel()
        assert [row["restarts"] for row in (await world.rows()).values() if row["kind"] == "session"] == [0] * len(STREAMS)
        await world.host_of("session:new", create=True)
        assert (await world.rows())["session:new"]["node"] == "n1"
        assert await root.call("drain", "n2") == {"node": "n2", "hosts": 0, "gateways": 0}
        await root.call("undrain", "n2")
        await world.until(world.is_calm)
        await world.host_of("session:newer", create=True)
        assert (await world.rows())["session:newer"]["node"] == "n2"

    run_virtual(scenario(), limit_s=200)


def test_the_only_node_and_one_that_is_not_there_can_not_be_drained() -> None:
    async def scenario() -> None:
        world = World(nodes=["n1"])
        root = await world.up()
        assert await refusal(root, "drain", "n1") is Code.WRONG_STATE
        assert await refusal(root, "drain", "elsewhere") is Code.NOT_FOUND
        assert await refusal(root, "undrain", "elsewhere") is Code.NOT_FOUND

    run_virtual(scenario(), limit_s=100)


async def refusal(root: Ref, method: str, node: str) -> Code:
    with pytest.raises(UndyingError) as caught:
        await root.call(method, node)
    return caught.value.failure.code


def test_a_restart_replaces_every_process_while_entities_are_asked_for_and_a_gateway_is_always_there() -> None:
    async def scenario() -> None:
        world = World(nodes=["n1", "n2"])
        root = await world.up()
        await seat(world)
        before = await world.rows()
        asking = asyncio.create_task(ask_again_and_again(world))
        listening = asyncio.create_task(never_without_gateway(world))
        await root.call("restart")

        async def renewed() -> bool:
            try:
                rows = await world.rows()
            except RuntimeFault:  # the root's turn
                return False
            old = {row["pid"] for row in before.values() if row["kind"] != "root"}  # it tells this very process's
            return rows.keys() >= before.keys() and not any(_pid(rows, each) in old for each in rows)

        await world.until(renewed)
        assert not asking.done()
        assert not listening.done()
        asking.cancel()
        listening.cancel()
        rows = await world.rows()
        assert [rows[stream]["epoch"] for stream in STREAMS] == [2] * len(STREAMS)
        assert [row["restarts"] for row in rows.values()] == [0] * len(rows)

    run_virtual(scenario(), limit_s=300)


def _pid(rows: dict[str, JsonObject], row: str) -> object:
    return rows[row]["pid"]


async def never_without_gateway(world: World) -> None:
    """Raise AssertionError when no gateway runs."""
    while True:
        assert world.runtime.running("gateway")
        await asyncio.sleep(0.001)
