"""When states are saved, that only settled ones are, and what is trimmed behind them."""

from __future__ import annotations

import asyncio

from actors.saving import AGAIN_S, DUMP_S_PER_BYTE, DUMP_SHARE, SPACING_S
from tests.in_virtual_time import quiet, virtual
from tests.unit.actors.hosting import STREAM, Stage
from undying.protocol.link import Acked
from undying.protocol.position import Position


@virtual
async def test_a_state_is_saved_after_so_many_events_at_the_position_of_its_last_commit() -> None:
    stage = Stage(checkpoint_events=6)
    gateway = await stage.up()  # two events: the claim and the creation
    for text in "abc":
        await gateway.do("say", text=text)
    assert await stage.saved() == []
    await gateway.do("say", text="d")
    await quiet()
    (saved,) = await stage.saved()
    assert (saved.position, saved.state["lines"]) == ((1, 5), ["a", "b", "c", "d"])


@virtual
async def test_a_busy_entity_is_saved_no_more_often_than_the_spacing() -> None:
    stage = Stage(checkpoint_events=2)
    gateway = await stage.up()
    for number in range(10):
        await gateway.do("say", text=str(number))
    await quiet()
    assert len(await stage.saved()) == 1
    await asyncio.sleep(SPACING_S)
    await gateway.do("say", text="later")
    await quiet()
    assert [saved.position for saved in await stage.saved()] == [(1, 12), (1, 1)]


@virtual
async def test_dumps_of_busy_entities_take_no_more_than_their_share_of_the_time() -> None:
    stage = Stage(checkpoint_events=2)
    gateway = await stage.up()
    bulk = "x" * 900_000
    written = 0
    for number in range(100):
        await gateway.do("say", text=f"{number} {bulk if number == 0 else ''}")
        await quiet()
        await asyncio.sleep(SPACING_S)
        written = stage.store.checkpoints_tried
    least_s = 900_000 * DUMP_S_PER_BYTE / DUMP_SHARE
    assert 1 < written <= 1 + 100 * SPACING_S / max(SPACING_S, least_s)


@virtual
async def test_a_change_is_saved_after_so_many_seconds() -> None:
    stage = Stage(checkpoint_s=30.0)
    gateway = await stage.up()
    await gateway.do("say", text="a")
    await asyncio.sleep(25)
    assert await stage.saved() == []
    await asyncio.sleep(7)
    assert [saved.position for saved in await stage.saved()] == [(1, 2)]


@virtual
async def test_an_entity_that_did_not_change_is_not_saved_again() -> None:
    stage = Stage(checkpoint_s=1.0)
    gateway = await stage.up()
    await asyncio.sleep(5)
    before = await stage.saved()
    await gateway.do("nothing")
    await asyncio.sleep(60)
    assert await stage.saved() == before


@virtual
async def test_nothing_of_a_commit_under_way_is_ever_saved() -> None:
    stage = Stage(checkpoint_s=1.0)
    gateway = await stage.up()
    await gateway.do("say", text="settled")
    stage.store.landing.clear()
    asked = asyncio.create_task(gateway.submit(gateway.op("say", text="staged")))
    await asyncio.sleep(30)
    for saved in await stage.saved():
        assert saved.state["lines"] == ["settled"][: saved.position.seq - 1]
    stage.store.landing.set()
    await asked
    await asyncio.sleep(5)
    newest = (await stage.saved())[0]
    assert (newest.position, newest.state["lines"]) == ((1, 3), ["settled", "staged"])


@virtual
async def test_the_journal_is_trimmed_only_behind_the_oldest_of_three_checkpoints() -> None:
    stage = Stage(checkpoint_events=2)
    gateway = await stage.up()
    seen = []
    for number in range(6):
        await asyncio.sleep(AGAIN_S)
        await gateway.do("say", text=str(number))
        await gateway.do("say", text=str(number))
        await quiet()
        kept = [saved.position for saved in await stage.saved()]
        seen.append(len(kept))
        oldest_entry = stage.journal()[0].position
        if len(kept) < 3:
            assert oldest_entry == Position(1, 0)
        else:
            assert oldest_entry == kept[-1].after(1)
    assert seen == [2, 3, 3, 3, 3, 3]


@virtual
async def test_an_entity_comes_back_from_an_older_checkpoint_when_the_newest_is_damaged() -> None:
    stage = Stage(checkpoint_events=2)
    gateway = await stage.up()
    for number in range(9):
        await asyncio.sleep(AGAIN_S)
        await gateway.do("say", text=str(number))
    await stage.host.stop()
    kept = stage.database.checkpoints[STREAM]
    newest = max(kept)
    kept[newest] = kept[newest][:-1] + b"?"
    later = Stage(stage.database)
    again = await later.up()
    answer = await again.do("nothing")
    assert isinstance(answer, Acked)
    assert answer.result == {"lines": 9}


@virtual
async def test_answers_are_part_of_what_is_saved() -> None:
    stage = Stage(checkpoint_events=2)
    gateway = await stage.up()
    await gateway.do("say", "x", text="once")
    await stage.host.stop()
    later = Stage(stage.database)
    again = await (await later.up()).do("say", "x", text="once")
    assert isinstance(again, Acked)
    assert again.dup
    assert [text for text in later.lines() if text == "once"] == ["once"]


@virtual
async def test_a_checkpoint_that_could_not_be_written_is_tried_again_without_a_change_no_more_often_than_the_spacing() -> None:
    stage = Stage(checkpoint_s=1.0)
    gateway = await stage.up()
    await gateway.do("say", text="a")
    stage.store.down = True
    await asyncio.sleep(10 * AGAIN_S)
    assert 5 < stage.store.checkpoints_tried <= 11
    stage.store.down = False
    assert await stage.saved() == []
    await asyncio.sleep(2 * AGAIN_S)
    assert [saved.state["lines"] for saved in await stage.saved()] == [["a"]]


@virtual
async def test_a_checkpoint_that_could_not_be_written_is_written_at_drain() -> None:
    stage = Stage(checkpoint_events=3)
    gateway = await stage.up()
    stage.store.checkpoints_down = True
    await gateway.do("say", text="a")
    await quiet()
    stage.store.checkpoints_down = False
    assert await stage.saved() == []
    await stage.host.drain()
    assert [saved.state["lines"] for saved in await stage.saved()] == [["a"]]


@virtual
async def test_events_of_a_checkpoint_that_could_not_be_written_count_for_the_next_one() -> None:
    stage = Stage(checkpoint_events=4)
    gateway = await stage.up()
    stage.store.checkpoints_down = True
    await gateway.do("say", text="a")
    await gateway.do("say", text="b")
    await quiet()
    stage.store.checkpoints_down = False
    await asyncio.sleep(AGAIN_S)
    await gateway.do("say", text="c")
    await quiet()
    assert [saved.state["lines"] for saved in await stage.saved()] == [["a", "b", "c"]]


@virtual
async def test_many_events_without_a_checkpoint_before_a_restart_are_saved_soon_after_it() -> None:
    stage = Stage(checkpoint_events=10)
    gateway = await stage.up()
    for number in range(7):
        await gateway.do("say", text=str(number))
    later = Stage(stage.database, checkpoint_events=10)
    again = await later.up()
    await again.do("say", text="one more")
    await quiet()
    assert len(await later.saved()) == 1
