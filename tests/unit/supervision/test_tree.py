"""The supervisors together, over the local runtime under virtual time: what dies comes back, what lives is left alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress

import pytest

from actors.local_processes import UNDEAD_S
from actors.runtime import Ref
from supervision.entity_table import LEAVE_S
from supervision.heartbeat import Heartbeat
from supervision.placement import Budget
from tests.unit.supervision.world import SPAWN_S, World
from tests.virtual_time import run_virtual
from undying.protocol.errors import Code, Failure, UndyingError

TABLE = "session:t"


def test_a_new_entity_comes_to_life_on_a_spare_and_stays_there() -> None:
    async def scenario() -> None:
        world = World()
        await world.up()
        before = asyncio.get_running_loop().time()
        host = await world.host_of(TABLE, create=True)
        assert asyncio.get_running_loop().time() - before < SPAWN_S
        assert await world.host_of(TABLE) == host
        assert world.activations == [(TABLE, host)]

    run_virtual(scenario(), limit_s=100)


def test_what_was_never_created_is_not_found_and_takes_no_room() -> None:
    async def scenario() -> None:
        world = World()
        await world.up()
        with pytest.raises(UndyingError) as caught:
            await world.host_of(TABLE)
        assert caught.value.failure.code is Code.NOT_FOUND
        assert TABLE not in await world.rows()
        hosts = await world.runtime.find("supervisor:hosts")
        assert hosts is not None

        async def released() -> bool:
            return not await hosts.call("placements")

        await world.until(released)

    run_virtual(scenario(), limit_s=100)


def test_many_who_ask_at_once_share_one_activation() -> None:
    async def scenario() -> None:
        world = World()
        await world.up()
        hosts = await asyncio.gather(*(world.host_of(TABLE, create=True) for _ in range(20)))
        assert len(set(hosts)) == 1
        assert len(world.activations) == 1

    run_virtual(scenario(), limit_s=100)


def test_who_may_create_is_not_refused_because_another_may_not() -> None:
    async def scenario() -> None:
        world = World()
        await world.up()
        looking, creating = await asyncio.gather(
            world.host_of(TABLE), world.host_of(TABLE, create=True), return_exceptions=True
        )
        assert isinstance(looking, UndyingError)
        assert isinstance(creating, str)

    run_virtual(scenario(), limit_s=100)


def test_a_killed_host_is_replaced_by_a_warm_spare_before_anybody_asks() -> None:
    async def scenario() -> None:
        world = World()
        await world.up()
        first = await world.host_of(TABLE, create=True)
        await world.until(world.is_calm)
        killed_at = asyncio.get_running_loop().time()
        await world.runtime.kill(first)
        second = await world.host_of(TABLE, avoid=first)
        assert second != first
        assert asyncio.get_running_loop().time() - killed_at < 0.05
        row = (await world.rows())[TABLE]
        assert (row["state"], row["epoch"], row["restarts"], row["parent"]) == ("live", 2, 1, "supervisor:sessions")

    run_virtual(scenario(), limit_s=100)


def test_what_died_is_brought_back_also_when_nobody_asks() -> None:
    async def scenario() -> None:
        world = World()
        await world.up()
        await world.runtime.kill(await world.host_of(TABLE, create=True))

        async def back() -> bool:
            return world.epochs[TABLE] == 2

        await world.until(back)

    run_virtual(scenario(), limit_s=100)


def test_an_entity_on_a_host_that_hangs_lives_elsewhere_a_few_seconds_later() -> None:
    async def scenario() -> None:
        world = World()
        await world.up()
        first = await world.host_of(TABLE, create=True)
        hung_at = asyncio.get_running_loop().time()
        world.runtime.freeze(first)

        async def back() -> bool:
            return world.epochs[TABLE] == 2

        await world.until(back)
        patience = Heartbeat()
        assert asyncio.get_running_loop().time() - hung_at < patience.every_s + patience.silent_s + 0.1
        assert await world.host_of(TABLE) != first
        world.runtime.thaw(first)
        await asyncio.sleep(UNDEAD_S)

    run_virtual(scenario(), limit_s=100)


@pytest.mark.parametrize("name", ["supervisor:sessions", "supervisor:hosts", "supervisor:gateways"])
def test_a_supervisor_that_hangs_is_replaced_and_what_was_well_is_left_alone(name: str) -> None:
    async def scenario() -> None:
        world = World()
        await world.up()
        host = await world.host_of(TABLE, create=True)
        before = await world.rows()
        world.runtime.freeze(name)

        async def replaced() -> bool:
            return (await world.rows()).get(name, {}).get("restarts") == 1 and await world.is_calm()

        await world.until(replaced)
        assert await world.host_of(TABLE) == host
        assert world.activations == [(TABLE, host)]
        assert (await world.rows())["gateway:1"]["pid"] == before["gateway:1"]["pid"]
        world.runtime.thaw(name)
        await asyncio.sleep(UNDEAD_S)

    run_virtual(scenario(), limit_s=200)


def test_who_saw_a_living_host_fail_gets_it_checked_and_the_others_wait_for_that() -> None:
    async def scenario() -> None:
        world = World()
        await world.up()
        host = await world.host_of(TABLE, create=True)
        told = await asyncio.gather(world.host_of(TABLE, avoid=host), world.host_of(TABLE))
        assert list(told) == [host, host]
        assert world.activations == [(TABLE, host)] * 2
        assert (await world.rows())[TABLE]["restarts"] == 0

    run_virtual(scenario(), limit_s=100)


def test_an_entity_that_kills_every_host_is_quarantined_and_says_why() -> None:
    async def scenario() -> None:
        world = World()
        await world.up()
        other = await world.host_of("session:other", create=True)
        world.deadly.add(TABLE)

        async def quarantined() -> bool:
            with pytest.raises(UndyingError) as caught:
                await world.host_of(TABLE, create=True)
            return caught.value.failure.code is Code.QUARANTINED

        await world.until(quarantined)
        row = (await world.rows())[TABLE]
        assert row["state"] == "quarantined"
        assert "11 endings in 60 s" in str(row["reason"])
        assert len(world.activations) == 12
        assert await world.host_of("session:other") == other

    run_virtual(scenario(), limit_s=300)


def test_one_activation_that_hangs_holds_up_nobody_else() -> None:
    async def scenario() -> None:
        world = World()
        await world.up()
        world.stuck.add(TABLE)
        hanging = asyncio.create_task(world.host_of(TABLE, create=True))
        before = asyncio.get_running_loop().time()
        await world.host_of("session:other", create=True)
        assert asyncio.get_running_loop().time() - before < 0.1
        with pytest.raises(UndyingError) as caught:
            await hanging
        assert caught.value.failure.code is Code.UNAVAILABLE

    run_virtual(scenario(), limit_s=100)


def test_a_store_that_is_away_is_told_at_once_and_the_entity_comes_back_when_it_is_there() -> None:
    async def scenario() -> None:
        world = World()
        await world.up()
        first = await world.host_of(TABLE, create=True)
        world.refused[TABLE] = Failure(Code.DATABASE_UNAVAILABLE, "the store is away")
        await world.runtime.kill(first)
        with pytest.raises(UndyingError) as caught:
            await world.host_of(TABLE, avoid=first)
        assert caught.value.failure.code is Code.DATABASE_UNAVAILABLE
        await asyncio.sleep(30)
        assert (await world.rows())[TABLE]["state"] == "restarting"
        del world.refused[TABLE]

        async def back() -> bool:
            return (await world.rows())[TABLE]["state"] == "live"

        await world.until(back)

    run_virtual(scenario(), limit_s=100)


def test_damaged_data_is_told_without_trying_again_and_again() -> None:
    async def scenario() -> None:
        world = World()
        await world.up()
        world.refused[TABLE] = Failure(Code.DATA_DAMAGED, "unreadable")
        for _ in range(3):
            with pytest.raises(UndyingError) as caught:
                await world.host_of(TABLE)
            assert caught.value.failure.code is Code.DATA_DAMAGED
        assert len(world.activations) == 1
        assert (await world.rows())[TABLE]["state"] == "failed"

    run_virtual(scenario(), limit_s=100)


def test_a_supervisor_that_comes_back_adopts_what_lives_and_restarts_what_died_meanwhile() -> None:
    async def scenario() -> None:
        world = World()
        await world.up()
        well = await world.host_of("session:well", create=True)
        ill = await world.host_of("session:ill", create=True)
        await world.runtime.kill("supervisor:sessions")
        await world.runtime.kill(ill)

        async def back() -> bool:
            return world.epochs["session:ill"] == 2

        await world.until(back)
        assert await world.host_of("session:well") == well
        assert world.epochs["session:well"] == 1
        assert (await world.rows())["supervisor:sessions"]["restarts"] == 1

    run_virtual(scenario(), limit_s=100)


def test_the_hosts_supervisor_comes_back_knowing_hosts_spares_and_gateways() -> None:
    async def scenario() -> None:
        world = World()
        await world.up()
        host = await world.host_of(TABLE, create=True)
        await world.until(world.is_calm)
        before = sorted(await world.runtime.names())
        await world.runtime.kill("supervisor:hosts")
        await world.until(world.is_calm)
        assert sorted(await world.runtime.names()) == before
        hosts = await world.runtime.find("supervisor:hosts")
        assert hosts is not None
        assert await hosts.call("placements") == {TABLE: host}

    run_virtual(scenario(), limit_s=100)


def test_callers_wait_while_a_supervisor_is_away() -> None:
    async def scenario() -> None:
        world = World()
        await world.up()
        await world.runtime.kill("supervisor:sessions")
        assert await world.host_of(TABLE, create=True)

    run_virtual(scenario(), limit_s=100)


def test_a_killed_gateway_runs_again_on_a_spare_under_its_id() -> None:
    async def scenario() -> None:
        world = World(gateways=2)
        await world.up()
        before = await world.rows()
        hosts = await world.runtime.find("supervisor:hosts")
        assert hosts is not None
        process = (await hosts.call("lease", "gateway", {}, "gateway:1", "local"))["process"]
        await world.runtime.kill(process)

        async def back() -> bool:
            row = (await world.rows())["gateway:1"]
            return row["state"] == "live" and row["pid"] != before["gateway:1"]["pid"]

        await world.until(back)
        after = await world.rows()
        assert after["gateway:1"]["restarts"] == 1
        assert after["gateway:2"]["pid"] == before["gateway:2"]["pid"]

    run_virtual(scenario(), limit_s=100)


def test_the_gateways_supervisor_comes_back_without_touching_the_gateways() -> None:
    async def scenario() -> None:
        world = World(gateways=2)
        await world.up()
        before = {name: row["pid"] for name, row in (await world.rows()).items() if row["kind"] == "gateway"}
        await world.runtime.kill("supervisor:gateways")
        await world.until(world.is_calm)
        after = {name: row["pid"] for name, row in (await world.rows()).items() if row["kind"] == "gateway"}
        assert after == before

    run_virtual(scenario(), limit_s=100)


def test_a_root_that_comes_back_restarts_nothing_that_is_well() -> None:
    async def scenario() -> None:
        world = World()
        await world.up()
        await world.host_of(TABLE, create=True)
        await world.until(world.is_calm)
        before = sorted(await world.runtime.names())
        world.runtime.crash("root")
        assert await world.host_of(TABLE)  # nobody needs the root for play
        await world.until(world.is_calm)
        assert sorted(await world.runtime.names()) == before

    run_virtual(scenario(), limit_s=100)


def test_a_supervisor_that_always_fails_makes_a_first_start_fail_with_its_reason() -> None:
    async def scenario() -> None:
        world = World(gateways=0)  # which no gateways supervisor accepts
        with pytest.raises(Exception, match="at least one gateway"):
            await world.up()

    run_virtual(scenario(), limit_s=200)


def test_stop_ends_everything_gateways_first_and_hosts_drained() -> None:
    async def scenario() -> None:
        world = World()
        root = await world.up()
        host = await world.host_of(TABLE, create=True)
        await root.call("stop")
        # Before these, the host that the gateway's process had built ahead and never was.
        assert world.stopped[-2:] == ["gateway:1", host]
        assert world.drained == [host]
        assert [name for name in await world.runtime.names() if name != "root"] == []

    run_virtual(scenario(), limit_s=100)


def test_past_the_budget_hosts_are_shared_and_a_suspect_is_alone() -> None:
    async def scenario() -> None:
        world = World(budget=Budget(hosts_per_node=2))
        await world.up()
        streams = [f"session:{number}" for number in range(6)]
        homes = {stream: await world.host_of(stream, create=True) for stream in streams}
        assert len(set(homes.values())) == 2
        victim = homes[streams[0]]
        with_it = [stream for stream in streams if homes[stream] == victim]
        await world.runtime.kill(victim)
        after = {stream: await world.host_of(stream, avoid=victim) for stream in streams}
        assert len({after[stream] for stream in with_it}) == len(with_it)
        assert not {after[stream] for stream in with_it} & {after[stream] for stream in streams if stream not in with_it}

    run_virtual(scenario(), limit_s=100)


def test_what_belongs_together_shares_a_host_past_the_budget() -> None:
    async def scenario() -> None:
        from supervision.locator import Locator

        world = World(budget=Budget(hosts_per_node=2))
        await world.up()
        table = await world.host_of(TABLE, create=True)
        await world.host_of("session:other", create=True)
        for number in range(4):
            asking = Locator(world.runtime, world.rng, near=table)
            assert (await asking.locate(f"character:{number}", create=True)).name == table

    run_virtual(scenario(), limit_s=100)


async def _supervisor(world: World, name: str) -> Ref:
    ref = await world.runtime.find(name)
    assert ref is not None
    return ref


def test_an_entity_that_went_to_rest_is_forgotten_with_its_place_and_woken_by_who_asks() -> None:
    async def scenario() -> None:
        world = World()
        await world.up()
        host = await world.host_of(TABLE, create=True)
        sessions, hosts = await _supervisor(world, "supervisor:sessions"), await _supervisor(world, "supervisor:hosts")
        await sessions.call("rested", host, [(TABLE, 1)])

        async def released() -> bool:
            return not await hosts.call("placements") and TABLE not in await world.rows()

        await world.until(released)
        await world.host_of(TABLE)
        assert (await world.rows())[TABLE]["state"] == "live"

    run_virtual(scenario(), limit_s=100)


def test_who_asks_for_an_entity_that_is_just_going_to_rest_gets_it_and_its_place_stays_taken() -> None:
    async def scenario() -> None:
        world = World()
        await world.up()
        host = await world.host_of(TABLE, create=True)
        sessions, hosts = await _supervisor(world, "supervisor:sessions"), await _supervisor(world, "supervisor:hosts")
        _, again = await asyncio.gather(sessions.call("rested", host, [(TABLE, 1)]), world.host_of(TABLE))
        await asyncio.sleep(5)
        assert (await hosts.call("placements"))[TABLE] == again
        assert (await world.rows())[TABLE]["state"] == "live"

    run_virtual(scenario(), limit_s=100)


@pytest.mark.parametrize(("host", "epoch"), [("process:other", 1), (None, 7)])
def test_news_of_a_rest_that_is_not_true_any_more_changes_nothing(host: str | None, epoch: int) -> None:
    async def scenario() -> None:
        world = World()
        await world.up()
        home = await world.host_of(TABLE, create=True)
        await (await _supervisor(world, "supervisor:sessions")).call("rested", host or home, [(TABLE, epoch)])
        assert await world.host_of(TABLE) == home
        assert len(world.activations) == 1

    run_virtual(scenario(), limit_s=100)


def test_empty_hosts_beyond_the_spares_are_ended_in_order() -> None:
    async def scenario() -> None:
        world = World(spares=1)
        await world.up()
        streams = [f"session:{number}" for number in range(4)]
        homes = [await world.host_of(stream, create=True) for stream in streams]
        sessions = await _supervisor(world, "supervisor:sessions")
        for stream, home in zip(streams, homes, strict=True):
            await sessions.call("rested", home, [(stream, 1)])

        async def retired() -> bool:
            return set(homes[1:]) <= set(world.stopped)

        await world.until(retired)
        assert world.drained == homes[1:]
        assert homes[0] in await world.runtime.names()

    run_virtual(scenario(), limit_s=100)


def test_a_person_can_have_a_quarantined_entity_tried_again() -> None:
    async def scenario() -> None:
        world = World()
        sessions = await _in_quarantine(world)
        world.deadly.clear()
        await sessions.call("readmit", TABLE)
        await world.host_of(TABLE)
        row = (await world.rows())[TABLE]
        assert (row["state"], row["restarts"]) == ("live", 11)
        with pytest.raises(UndyingError) as caught:
            await sessions.call("readmit", TABLE)
        assert caught.value.failure.code is Code.WRONG_STATE
        with pytest.raises(UndyingError) as caught:
            await sessions.call("readmit", "session:unknown")
        assert caught.value.failure.code is Code.NOT_FOUND

    run_virtual(scenario(), limit_s=300)


def test_a_quarantined_entity_is_rolled_back_alone_in_a_host_and_its_history_is_forgotten() -> None:
    async def scenario() -> None:
        world = World()
        sessions = await _in_quarantine(world)
        world.deadly.clear()
        assert await sessions.call("roll_back", TABLE, [1, 5]) == {"stream": TABLE, "to": [1, 5], "dropped": 7}
        assert world.rolled_back == [(TABLE, [1, 5])]
        row = (await world.rows())[TABLE]
        assert (row["state"], row.get("reason")) == ("live", None)
        assert await _code(sessions.call("roll_back", TABLE, [1, 5])) is Code.WRONG_STATE
        assert await _code(sessions.call("roll_back", "session:unknown", [1, 5])) is Code.NOT_FOUND
        # It has all its restarts again.
        await world.runtime.kill(str(row["host"]))
        assert await world.host_of(TABLE, avoid=str(row["host"])) != row["host"]

    run_virtual(scenario(), limit_s=300)


def test_a_rollback_that_fails_leaves_an_entity_in_quarantine_and_is_not_tried_again_by_itself() -> None:
    async def scenario() -> None:
        world = World()
        sessions = await _in_quarantine(world)
        tried = len(world.activations)
        assert await _code(sessions.call("roll_back", TABLE, [1, 5])) is Code.UNAVAILABLE
        world.deadly.clear()
        world.refused[TABLE] = Failure(Code.DATA_DAMAGED, "no way leads there")
        assert await _code(sessions.call("roll_back", TABLE, [1, 5])) is Code.DATA_DAMAGED
        await asyncio.sleep(60)
        row = (await world.rows())[TABLE]
        assert (row["state"], len(world.activations)) == ("quarantined", tried + 2)
        assert "too often" in str(row["reason"])

    run_virtual(scenario(), limit_s=500)


def test_of_two_rollbacks_at_once_one_is_refused_and_who_asks_meanwhile_waits_for_it() -> None:
    async def scenario() -> None:
        world = World()
        sessions = await _in_quarantine(world)
        world.deadly.clear()
        asked: list[Awaitable[object]] = [
            sessions.call("roll_back", TABLE, [1, 5]),
            sessions.call("roll_back", TABLE, [1, 6]),
            world.host_of(TABLE),
        ]
        one, other, host = await asyncio.gather(*asked, return_exceptions=True)
        assert one == {"stream": TABLE, "to": [1, 5], "dropped": 7}
        assert isinstance(other, UndyingError)
        assert other.failure.code is Code.WRONG_STATE
        assert isinstance(host, str)

    run_virtual(scenario(), limit_s=300)


def test_an_entity_whose_host_never_lets_it_go_is_claimed_from_it_after_a_while() -> None:
    async def scenario() -> None:
        world = World()
        await world.up()
        host = await world.host_of(TABLE, create=True)
        sessions = await _supervisor(world, "supervisor:sessions")
        await sessions.call("leave", host)  # and whoever said so dies
        before = asyncio.get_running_loop().time()
        with pytest.raises(UndyingError):
            await world.host_of(TABLE)
        assert await world.host_of(TABLE) != host
        assert asyncio.get_running_loop().time() - before < LEAVE_S + 1

    run_virtual(scenario(), limit_s=200)


async def _in_quarantine(world: World) -> Ref:
    """Start a tree in which the table has ended its processes too often; return the supervisor of sessions."""
    await world.up()
    world.deadly.add(TABLE)

    async def quarantined() -> bool:
        with suppress(UndyingError):
            await world.host_of(TABLE, create=True)
        return (await world.rows()).get(TABLE, {}).get("state") == "quarantined"

    await world.until(quarantined)
    world.epochs[TABLE] = 1
    return await _supervisor(world, "supervisor:sessions")


async def _code(call: Awaitable[object]) -> Code:
    with pytest.raises(UndyingError) as caught:
        await call
    return caught.value.failure.code
