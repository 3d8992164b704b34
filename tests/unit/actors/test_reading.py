"""How a follower catches up: from the tail, from the journal, or from a snapshot; never a part, never a guess."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import msgpack
import pytest

import actors.reading
from tests.in_virtual_time import quiet, virtual
from tests.unit.actors.hosting import STREAM, GatewayByHand, Stage, is_failed, tags, texts
from undying.protocol.link import NO_POSITION, Ephemeral, EphemeralItem, Opened, Subscribed, ToGateway


def opened(messages: list[ToGateway]) -> Opened:
    (answer,) = messages
    assert isinstance(answer, Opened)
    return answer


async def reactivated(*lines: str) -> tuple[Stage, GatewayByHand]:
    """Return a second life that was rebuilt from a checkpoint behind the lines: its tail holds its claim only."""
    first = Stage()
    gateway = await first.up()
    for line in lines:
        await gateway.do("say", text=line)
    await first.host.stop()
    stage = Stage(first.database)
    return stage, await stage.up()


async def polled(gateway: GatewayByHand, item: object) -> list[ToGateway]:
    messages = await gateway.submit(item)  # type: ignore[arg-type]
    return messages or await gateway.poll()


@virtual
async def test_who_has_everything_is_told_that_nothing_was_missed() -> None:
    gateway = await Stage().up()
    await gateway.do("say", text="a")
    answer = opened(await gateway.submit(gateway.open((1, 2))))
    assert (answer.mode, answer.pos, answer.batches, answer.state) == ("live", (1, 2), [], b"")


@virtual
async def test_what_is_in_the_tail_is_replayed_and_the_first_batch_may_begin_before_the_position() -> None:
    gateway = await Stage().up()
    await gateway.submit(gateway.op("say", text="a"), gateway.op("say", text="b"))
    await gateway.do("say", text="c")
    answer = opened(await gateway.submit(gateway.open((1, 2))))
    assert (answer.mode, answer.pos) == ("replay", (1, 4))
    assert [(batch.first, batch.last) for batch in answer.batches] == [(2, 3), (4, 4)]


@virtual
async def test_what_is_older_than_the_tail_is_read_back_from_the_journal_and_joined_to_it() -> None:
    _stage, gateway = await reactivated("a", "b", "c")
    answer = opened(await polled(gateway, gateway.open((1, 2))))
    assert (answer.mode, answer.pos) == ("replay", (2, 0))
    assert texts(list(answer.batches)) == ["b", "c"]
    assert answer.batches[-1].first == 0


@virtual
async def test_what_is_committed_while_the_journal_is_read_is_in_the_answer_and_comes_once() -> None:
    stage, gateway = await reactivated("a")
    stage.store.reading.clear()
    assert await gateway.submit(gateway.open((1, 1))) == []
    await gateway.do("say", text="meanwhile")
    stage.store.reading.set()
    answer = opened(await gateway.poll())
    assert texts(list(answer.batches)) == ["a", "meanwhile"]
    assert answer.pos == (2, 1)


@virtual
async def test_a_snapshot_that_took_a_while_holds_nothing_of_a_commit_under_way() -> None:
    stage, gateway = await reactivated("a")
    await stage.store.trim(STREAM, stage.journal()[1].position)
    stage.store.reading.clear()
    assert await gateway.submit(gateway.open((1, 0))) == []
    other = GatewayByHand(stage.host, "g2")
    await other.subscribe()
    stage.store.answering.clear()
    asked = asyncio.create_task(other.submit(other.op("say", text="not yet true")))
    await quiet()
    stage.store.reading.set()
    waiting = asyncio.create_task(gateway.poll())
    await quiet()
    assert not waiting.done()
    stage.store.answering.set()
    await asked
    messages = await waiting
    assert tags(messages) == ["ev", "opened"]
    answer = opened(messages[1:])
    assert (answer.mode, answer.pos) == ("snapshot", (2, 1))
    assert msgpack.unpackb(answer.state)["lines"] == ["a", "not yet true"]


@virtual
async def test_a_position_behind_the_trimmed_journal_gets_a_snapshot() -> None:
    stage, gateway = await reactivated("a", "b", "c")
    await stage.store.trim(STREAM, stage.journal()[2].position)
    answer = opened(await polled(gateway, gateway.open((1, 1))))
    assert (answer.mode, answer.pos, answer.reason) == ("snapshot", (2, 0), "too far back")


@virtual
async def test_no_replay_leads_over_a_hole_in_the_journal() -> None:
    stage, gateway = await reactivated("a", "b", "c")
    del stage.database.journals[STREAM][3]
    answer = opened(await polled(gateway, gateway.open((1, 1))))
    assert (answer.mode, answer.reason) == ("snapshot", "too far back")


@virtual
async def test_a_claim_that_can_not_be_read_is_too_far_back_and_no_end_of_the_host() -> None:
    stage, _ = await reactivated("a")
    await stage.host.stop()
    later = Stage(stage.database, checkpoint_events=2)
    gateway = await later.up()
    await gateway.do("say", text="b")
    await later.host.stop()
    last = Stage(stage.database)
    gateway = await last.up()
    journal = stage.database.journals[STREAM]
    (at,) = [at for at, entry in enumerate(journal) if entry.position == (2, 0)]
    journal[at] = replace(journal[at], body=b"\xc1")
    answer = opened(await polled(gateway, gateway.open((1, 2))))
    assert (answer.mode, answer.reason) == ("snapshot", "too far back")


@virtual
async def test_more_than_a_replay_may_hold_becomes_a_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actors.reading, "REPLAY_EVENTS_MAX", 2)
    _, gateway = await reactivated("a", "b", "c")
    assert opened(await polled(gateway, gateway.open((1, 1)))).mode == "snapshot"


@virtual
async def test_a_position_that_never_was_gets_a_snapshot() -> None:
    _stage, gateway = await reactivated("a")
    for pos in ((2, 5), (1, 9), (7, 0)):
        assert opened(await polled(gateway, gateway.open(pos))).mode == "snapshot"


@virtual
async def test_a_store_that_can_not_be_read_makes_a_snapshot() -> None:
    stage, gateway = await reactivated("a", "b")
    stage.store.down = True
    assert opened(await polled(gateway, gateway.open((1, 1)))).mode == "snapshot"


@virtual
async def test_an_entity_lost_while_the_journal_is_read_is_asked_again() -> None:
    stage, gateway = await reactivated("a", "b")
    stage.store.reading.clear()
    item = gateway.open((1, 1))
    await gateway.submit(item)
    stage.store.loses_answers = True
    await gateway.do("say", text="lost")
    stage.store.reading.set()
    assert is_failed((await gateway.poll())[-1], "store")


@virtual
async def test_a_gateway_that_can_not_be_told_what_it_missed_is_told_of_the_gap() -> None:
    gateway = await Stage().up(subscribed=False)
    (answer,) = await gateway.subscribe((9, 9))
    assert isinstance(answer, Subscribed)
    assert (answer.gap, answer.pos, answer.batches) == (True, (1, 1), [])


@virtual
async def test_a_gateway_gets_what_it_missed_when_it_follows_again() -> None:
    stage = Stage()
    gateway, late = await stage.up(), GatewayByHand(stage.host, "g2")
    await gateway.do("say", text="a")
    (answer,) = await late.subscribe((1, 1))
    assert isinstance(answer, Subscribed)
    assert (answer.gap, answer.pos, texts(list(answer.batches))) == (False, (1, 2), ["a"])


@virtual
async def test_what_is_for_now_only_reaches_all_who_follow() -> None:
    stage = Stage()
    one, two = await stage.up(), GatewayByHand(stage.host, "g2")
    await two.subscribe(NO_POSITION)
    await one.submit(EphemeralItem("eph", STREAM, "cursor", {"x": 1}, "ann"))
    assert await two.submit() == [Ephemeral("ephd", STREAM, "cursor", {"x": 1}, "ann")]
