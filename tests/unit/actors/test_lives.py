"""How entities come to life, are lost, and come back: never over a hole, never at the cost of the others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgpack
from structlog.testing import capture_logs

from actors.lives import VERIFY_S
from persistence.store import Append, Outcome
from tests.in_virtual_time import virtual
from tests.unit.actors.hosting import STREAM, HeldStore, Stage, code_of, is_failed, texts
from undying.protocol.errors import Code
from undying.protocol.events import Event
from undying.protocol.link import Acked, Lost, Subscribed

LOST = Lost("lost", STREAM, "store")


def lose_tail(stage: Stage, entries: int) -> None:
    """Let the store forget the newest entries, as a replica that lagged and was promoted has never had them."""
    del stage.database.journals[STREAM][-entries:]


async def playing(lines: int) -> tuple[Stage, Any]:
    stage = Stage()
    gateway = await stage.up()
    for number in range(lines):
        await gateway.do("say", text=str(number))
    return stage, gateway


@virtual
async def test_a_commit_behind_entries_that_the_store_lost_is_refused_and_the_entity_goes_on_from_what_is_left() -> None:
    stage, gateway = await playing(5)
    lose_tail(stage, 2)
    told = await gateway.submit(gateway.op("say", text="behind a hole"))
    assert is_failed(told[0], "store")
    assert told[1] == LOST
    await asyncio.sleep(1)
    (subscribed,) = await gateway.subscribe((1, 6))
    assert isinstance(subscribed, Subscribed)
    assert (subscribed.gap, tuple(subscribed.pos)) == (True, (2, 0))
    assert isinstance(await gateway.do("say", text="on"), Acked)
    assert stage.lines() == ["0", "1", "2", "on"]
    await stage.host.stop()
    later = await Stage(stage.database).up()
    assert (await later.do("nothing")).result == {"lines": 4}  # type: ignore[union-attr]


@virtual
async def test_that_the_store_is_behind_what_it_acknowledged_is_logged_with_both_positions() -> None:
    stage, gateway = await playing(5)
    lose_tail(stage, 2)
    with capture_logs() as logs:
        await gateway.do("say", text="behind a hole")
    (line,) = [line for line in logs if line["log_level"] == "error"]
    assert (line["stream"], line["acknowledged"], line["stored"]) == (STREAM, [1, 6], [1, 4])


@virtual
async def test_an_idle_entity_whose_tail_the_store_lost_is_found_and_its_followers_are_told() -> None:
    stage, gateway = await playing(5)
    polled = asyncio.create_task(gateway.poll())
    lose_tail(stage, 2)
    async with asyncio.timeout(VERIFY_S + 1):
        assert await polled == [LOST]
    await asyncio.sleep(1)
    assert [(row["epoch"], row["seq"]) for row in await stage.live()] == [(2, 0)]


@virtual
async def test_an_idle_entity_of_which_the_store_has_nothing_any_more_is_let_go() -> None:
    stage, _ = await playing(1)
    stage.database.journals.clear()
    await asyncio.sleep(VERIFY_S + 1)
    assert await stage.live() == []
    assert stage.journal() == []


@virtual
async def test_an_entity_that_commits_all_the_time_is_not_taken_for_one_that_lost_its_tail() -> None:
    stage, gateway = await playing(1)
    for number in range(300):
        await asyncio.gather(gateway.do("say", text=str(number)), asyncio.sleep(VERIFY_S / 100))
    assert [row["epoch"] for row in await stage.live()] == [1]


@virtual
async def test_an_epoch_that_the_store_lost_does_not_come_twice() -> None:
    stage, _ = await playing(2)
    await stage.host.stop()
    second = Stage(stage.database)
    gateway = await second.up()
    await gateway.do("say", text="of epoch 2")
    lose_tail(second, 2)
    assert is_failed((await gateway.submit(gateway.op("say", text="lost")))[0], "store")
    await asyncio.sleep(1)
    assert [entry.position for entry in second.journal()[-2:]] == [(1, 3), (3, 0)]
    (subscribed,) = await gateway.subscribe((2, 1))
    assert subscribed.gap  # type: ignore[union-attr]


@virtual
async def test_rules_that_can_not_take_in_what_is_stored_cost_one_entity_and_not_the_host() -> None:
    stage, gateway = await playing(1)
    await stage.host.activate("session:other", create=True)
    evolve = stage.rules.evolve

    def broken(state: Any, event: Event) -> None:
        if event.kind == "said":
            raise KeyError("a defect")
        evolve(state, event)

    stage.rules.evolve = broken  # type: ignore[method-assign]
    assert is_failed(await gateway.do("say", text="x"), "store")
    await asyncio.sleep(60)
    assert [row["id"] for row in await stage.live()] == ["session:other"]
    assert await code_of(stage.host.activate(STREAM, create=False)) is Code.DATA_DAMAGED


@virtual
async def test_an_entry_that_can_not_be_unpacked_makes_its_entity_damaged() -> None:
    stage, _ = await playing(3)
    journal = stage.database.journals[STREAM]
    whole = journal[2]
    later = Stage(stage.database)
    await later.host.start()
    for damaged in (replace(whole, body=b"\xc1"), replace(whole, answers=b"\x91"), replace(whole, body=msgpack.packb([{}]))):
        journal[2] = damaged
        assert await code_of(later.host.activate(STREAM, create=False)) is Code.DATA_DAMAGED
    journal[2] = whole
    assert await later.host.activate(STREAM, create=False) == [2, 0]


@virtual
async def test_a_checkpoint_whose_state_the_rules_can_not_load_is_passed_over_whatever_they_raise() -> None:
    stage, _ = await playing(3)
    await stage.host.stop()
    later = Stage(stage.database)

    def broken(_: Any) -> Any:
        raise KeyError("a defect")

    later.rules.load = broken  # type: ignore[method-assign, assignment]
    gateway = await later.up()
    assert (await gateway.do("nothing")).result == {"lines": 3}  # type: ignore[union-attr]


@virtual
async def test_an_entity_that_can_not_be_rebuilt_is_not_claimed_at_each_try() -> None:
    stage, _ = await playing(3)
    del stage.database.journals[STREAM][2]
    before = stage.journal()
    later = Stage(stage.database)
    await later.host.start()
    for _ in range(10):
        assert await code_of(later.host.activate(STREAM, create=False)) is Code.DATA_DAMAGED
    assert stage.journal() == before


@virtual
async def test_entities_are_back_soon_after_a_store_that_was_long_away_and_share_the_asking_for_it() -> None:
    stage, gateway = await playing(1)
    others = [f"session:other{number}" for number in range(20)]
    for other in others:
        await stage.host.activate(other, create=True)
        await stage.host.ask(other, "create", "create", {}, "@admin")
        await gateway.submit(gateway.sub()._replace(stream=other))
    stage.store.down = True
    for stream in (STREAM, *others):
        assert is_failed((await gateway.submit(gateway.op("say", text="x")._replace(stream=stream)))[0], "store")
    await asyncio.sleep(60)
    assert await stage.live() == []
    assert stage.store.pings < 60 * 10
    stage.store.down = False
    await asyncio.sleep(1)
    assert len(await stage.live()) == 21


class RacedStore(HeldStore):
    """A store in which something lands just before each of the first claims."""

    rival: Stage
    races = 2

    async def append(self, appends: Sequence[Append]) -> list[Outcome]:
        if self.races and appends[0].claims:
            self.races -= 1
            await self.rival.gateway.do("say", text=f"late {self.races}")
        return await super().append(appends)


@virtual
async def test_what_lands_between_the_rebuilding_and_the_claim_is_taken_in() -> None:
    stage, _ = await playing(1)
    later = Stage(stage.database)
    later.store = store = RacedStore(stage.database)
    store.rival = stage
    later.host = later.host_on(store)
    later.gateway.host = later.host
    gateway = await later.up()
    assert (await gateway.do("nothing")).result == {"lines": 3}  # type: ignore[union-attr]
    assert [entry.position for entry in later.journal()] == [(1, 0), (1, 1), (1, 2), (1, 3), (1, 4), (2, 0)]
    (answer,) = await gateway.subscribe((1, 2))
    assert texts(answer.batches) == ["late 1", "late 0"]  # type: ignore[union-attr]
