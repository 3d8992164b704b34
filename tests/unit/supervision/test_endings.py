"""What the tracker hears from the whole tree, and that the tree does not need it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from supervision.keeper import AGAIN_S
from supervision.reporting import TRACKER
from supervision.root import INTENSITY
from tests.in_virtual_time import virtual
from tests.unit.supervision.world import World
from undying.protocol.errors import Code, Failure, UndyingError

TABLE = "session:t"


async def up() -> World:
    world = World()
    await world.up()
    return world


async def told(world: World, child: str, count: int = 1) -> list[dict[str, Any]]:
    """Wait until so many endings of a child are known; return them, the latest first."""

    async def known() -> bool:
        return len(await of(world, child)) >= count

    await world.until(known)
    return await of(world, child)


async def of(world: World, child: str) -> list[dict[str, Any]]:
    return [row for row in await world.endings() if row["id"] == child]


async def state_of(world: World, child: str) -> object:
    return (await world.rows()).get(child, {}).get("state")


async def until_state(world: World, child: str, state: str) -> None:
    async def reached() -> bool:
        return await state_of(world, child) == state

    await world.until(reached)


@virtual
async def test_a_killed_table_is_told_of_twice_the_table_that_came_back_and_the_process_that_did_not() -> None:
    world = await up()
    host = await world.host_of(TABLE, create=True)
    await world.runtime.kill(host)
    (table,) = await told(world, TABLE)
    shown = {key: table[key] for key in ("kind", "where", "node", "reason", "decided", "after_s", "nth", "by")}
    assert shown == {
        "kind": "session",
        "where": host,
        "node": "local",
        "reason": "killed",
        "decided": "restart",
        "after_s": 0.0,
        "nth": 1,
        "by": "supervisor:sessions",
    }
    (process,) = await told(world, host)
    assert (process["kind"], process["decided"], process["by"]) == ("host", "replaced", "supervisor:hosts")


@virtual
async def test_gateways_supervisors_spares_and_the_root_are_told_of_too() -> None:
    world = await up()
    hosts = await world.runtime.find("supervisor:hosts")
    assert hosts is not None
    lease = await hosts.call("lease", "gateway", {}, "gateway:1", "local")
    spare = next(name for name in await world.runtime.names() if name.startswith("process:") and name != lease["process"])
    await world.runtime.kill(lease["process"])
    await world.runtime.kill(spare)
    (gateway,) = await told(world, "gateway:1")
    assert (gateway["kind"], gateway["by"], gateway["where"]) == ("gateway", "supervisor:gateways", lease["process"])
    (process,) = await told(world, spare)
    assert (process["kind"], process["decided"], process["by"]) == ("spare", "replaced", "supervisor:hosts")
    await world.runtime.kill("supervisor:sessions")
    (supervisor,) = await told(world, "supervisor:sessions")
    assert (supervisor["kind"], supervisor["by"]) == ("supervisor", "root")
    world.runtime.crash("root")
    (root,) = await told(world, "root")
    assert (root["kind"], root["by"]) == ("root", "root")


@virtual
async def test_the_history_outlives_the_supervisor_that_saw_it() -> None:
    world = await up()
    await world.runtime.kill(await world.host_of(TABLE, create=True))
    await told(world, TABLE)
    await world.runtime.kill("supervisor:sessions")
    await told(world, "supervisor:sessions")
    await world.runtime.kill(await world.host_of(TABLE))
    endings = await told(world, TABLE, 2)
    assert [row["nth"] for row in endings] == [2, 1]
    assert (await world.rows())[TABLE]["restarts"] == 1


@virtual
async def test_a_server_that_goes_down_in_order_has_no_endings_to_tell() -> None:
    world = await up()
    await until_state(world, TRACKER, "live")
    await world.host_of(TABLE, create=True)
    root = await world.runtime.find("root")
    assert root is not None
    await root.call("stop")
    assert world.database.chronicle == []


@virtual
async def test_what_was_quarantined_says_so_and_names_the_way_out() -> None:
    world = await up()
    world.deadly.add(TABLE)
    with pytest.raises(UndyingError):
        await world.host_of(TABLE, create=True)
    while await state_of(world, TABLE) != "quarantined":
        with pytest.raises(UndyingError):
            await world.host_of(TABLE, create=True)
    latest, *earlier = await told(world, TABLE, 11)
    assert (latest["decided"], {row["decided"] for row in earlier}) == ("quarantined", {"restart"})
    assert any(row["after_s"] > 0 for row in earlier)
    row = (await world.rows())[TABLE]
    assert f"`undying quarantine release {TABLE}`" in str(row["way_out"])


@virtual
async def test_data_that_can_not_be_read_are_told_of_once_however_often_somebody_asks() -> None:
    world = await up()
    world.refused[TABLE] = Failure(Code.DATA_DAMAGED, "unreadable")
    for _ in range(3):
        with pytest.raises(UndyingError):
            await world.host_of(TABLE)
        await asyncio.sleep(60)
    (row,) = await told(world, TABLE)
    assert (row["decided"], row["reason"], row["detail"]) == ("failed", "failed", "unreadable")
    assert f"`undying quarantine rollback {TABLE}`" in str((await world.rows())[TABLE]["way_out"])


@virtual
async def test_a_killed_tracker_comes_back_and_is_told_of_its_own_end() -> None:
    world = await up()
    await until_state(world, TRACKER, "live")
    assert (await world.rows())[TRACKER]["kind"] == "tracker"
    await world.runtime.kill(TRACKER)
    (row,) = await told(world, TRACKER)
    assert (row["kind"], row["decided"], row["by"]) == ("tracker", "restart", "root")


@virtual
async def test_a_tracker_that_can_not_live_takes_nobody_along_and_is_tried_again_later() -> None:
    world = World(trackers_fail=True)
    await world.up()
    host = await world.host_of(TABLE, create=True)
    await until_state(world, TRACKER, "failed")
    row = (await world.rows())[TRACKER]
    assert (row["restarts"], row["parent"]) == (INTENSITY.restarts + 1, "root")
    assert f"tried again after {AGAIN_S:g} s" in str(row["way_out"])
    assert "6 endings in 60 s" in str(row["reason"])
    await world.runtime.kill(host)
    world.trackers_fail = False
    await asyncio.sleep(AGAIN_S)
    assert len(await told(world, TRACKER, INTENSITY.restarts + 1)) == INTENSITY.restarts + 1
    assert len(await told(world, TABLE)) == 1
    rows = await world.rows()
    assert {row["restarts"] for name, row in rows.items() if name.startswith("supervisor:")} == {0}
    assert "way_out" not in rows[TRACKER]


@virtual
async def test_a_root_that_comes_back_finds_the_tracker_alive() -> None:
    world = await up()
    await until_state(world, TRACKER, "live")
    before = (await world.rows())[TRACKER]["pid"]
    world.runtime.crash("root")
    await told(world, "root")
    await until_state(world, TRACKER, "live")
    assert (await world.rows())[TRACKER]["pid"] == before
