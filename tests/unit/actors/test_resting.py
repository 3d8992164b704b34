"""An entity that nobody needs is saved and let go, and nothing that is needed is."""

from __future__ import annotations

import asyncio

from tests.in_virtual_time import virtual
from tests.unit.actors.hosting import STREAM, Stage, is_failed
from undying.protocol.link import UnsubscribeItem

REST_S = 60.0


@virtual
async def test_an_entity_that_nobody_follows_goes_to_rest_saved() -> None:
    stage = Stage(rest_s=REST_S)
    await stage.up(subscribed=False)
    await asyncio.sleep(REST_S * 0.9)
    assert [row["id"] for row in await stage.live()] == [STREAM]
    await asyncio.sleep(REST_S * 0.4)
    assert await stage.live() == []
    assert stage.rested == [(STREAM, 1)]
    (saved,) = await stage.saved()
    assert saved.position == stage.journal()[-1].position


@virtual
async def test_an_entity_that_is_followed_stays() -> None:
    stage = Stage(rest_s=REST_S)
    gateway = await stage.up()
    for _ in range(10):
        await asyncio.sleep(30)
        await gateway.submit()  # a gateway that says nothing for 45 s is given up
    assert [row["id"] for row in await stage.live()] == [STREAM]
    await gateway.submit(UnsubscribeItem("unsub", STREAM))
    await asyncio.sleep(REST_S * 1.4)
    assert await stage.live() == []


@virtual
async def test_the_time_counts_from_the_last_event() -> None:
    stage = Stage(rest_s=REST_S)
    await stage.up(subscribed=False)
    for number in range(5):
        await asyncio.sleep(REST_S * 0.8)
        await stage.host.ask(STREAM, f"say-{number}", "say", {"text": "still here"}, "@admin")
    assert [row["id"] for row in await stage.live()] == [STREAM]


@virtual
async def test_an_entity_that_waits_for_another_ones_answer_stays() -> None:
    stage = Stage(rest_s=REST_S)
    await stage.up(subscribed=False)
    stage.peers.answer = None
    await stage.host.ask(STREAM, "send", "send", {"to": "session:other"}, "@admin")
    await asyncio.sleep(REST_S * 3)
    assert [row["id"] for row in await stage.live()] == [STREAM]


@virtual
async def test_what_can_not_be_saved_does_not_go() -> None:
    stage = Stage(rest_s=REST_S)
    await stage.up(subscribed=False)
    stage.store.checkpoints_down = True
    await asyncio.sleep(REST_S * 3)
    assert [row["id"] for row in await stage.live()] == [STREAM]
    stage.store.checkpoints_down = False
    await asyncio.sleep(REST_S * 0.4)
    assert await stage.live() == []


@virtual
async def test_an_op_for_an_entity_at_rest_is_sent_elsewhere_and_it_wakes_with_all_it_had() -> None:
    stage = Stage(rest_s=REST_S)
    await stage.up(subscribed=False)
    await stage.host.ask(STREAM, "say", "say", {"text": "before"}, "@admin")
    await asyncio.sleep(REST_S * 1.4)
    assert await stage.live() == []
    op = stage.gateway.op("say", text="after")
    (answer,) = await stage.gateway.submit(op)
    assert is_failed(answer, "moved")
    await stage.host.activate(STREAM, create=False)
    await stage.gateway.subscribe()
    await stage.gateway.submit(op)
    assert stage.lines() == ["before", "after"]


@virtual
async def test_zero_is_never() -> None:
    stage = Stage(rest_s=0.0)
    await stage.up(subscribed=False)
    await asyncio.sleep(3_000)
    assert [row["id"] for row in await stage.live()] == [STREAM]
