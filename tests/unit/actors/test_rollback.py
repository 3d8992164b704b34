"""An entity is rolled back: what counts then, who is told what, and what can't go wrong."""

from __future__ import annotations

import asyncio
import copy
from dataclasses import replace

import msgpack
import pytest

from actors.saving import AGAIN_S
from tests.in_virtual_time import quiet, virtual
from tests.unit.actors.hosting import STREAM, GatewayByHand, Stage, code_of, texts
from tests.unit.actors.toy import Toy
from undying.protocol.data import JsonObject
from undying.protocol.errors import Code
from undying.protocol.link import Opened, Subscribed
from undying.protocol.position import Position

P = Position(1, 3)
"""Where `played` has its first checkpoint: the toy exists and has two lines, "0" and "1"."""


async def played(lines: int = 4) -> Stage:
    """Return a table that was saved at P, after each further line, and whose host is gone."""
    stage = Stage(checkpoint_events=2)
    gateway = await stage.up()
    for number in range(lines):
        await asyncio.sleep(AGAIN_S)
        await gateway.submit(gateway.op("say", text=str(number)))
        await quiet()
    await stage.host.stop()
    return stage


async def rolled_back(stage: Stage, to: Position) -> tuple[Stage, GatewayByHand, int]:
    """Roll the table back in a host of its own; return it with a gateway that does not follow yet."""
    later = Stage(stage.database)
    await later.host.start()
    _, _, dropped = await later.host.roll_back(STREAM, list(to))
    return later, later.gateway, dropped


async def revived(stage: Stage) -> GatewayByHand:
    """Bring the table to life in a started host; return a gateway that does not follow yet."""
    await stage.host.start()
    await stage.host.activate(STREAM, create=False)
    return stage.gateway


async def lines_of(gateway: GatewayByHand) -> list[str]:
    answer = (await gateway.submit(gateway.open()))[-1]
    assert isinstance(answer, Opened)
    return list(msgpack.unpackb(answer.state)["lines"])


@virtual
async def test_an_entity_is_as_it_was_and_plays_on_and_the_journal_keeps_everything() -> None:
    stage = await played()
    before = stage.journal()
    later, gateway, dropped = await rolled_back(stage, P)
    assert dropped == 2
    assert await lines_of(gateway) == ["0", "1"]
    await gateway.do("say", text="anew")
    assert later.journal()[: len(before)] == before
    assert later.lines() == ["0", "1", "2", "3", "anew"]
    await later.host.stop()
    again = Stage(stage.database)
    assert await lines_of(await again.up()) == ["0", "1", "anew"]


@virtual
async def test_a_life_that_dies_right_after_a_rollback_does_not_undo_it() -> None:
    stage = await played()
    await rolled_back(stage, P)
    again = Stage(stage.database)
    assert await lines_of(await again.up()) == ["0", "1"]


@virtual
async def test_nothing_that_was_rolled_back_over_is_taken_in_ever_again() -> None:
    stage = await played()
    journal = stage.database.journals[STREAM]
    for at, entry in enumerate(journal):
        if entry.position > P:
            journal[at] = replace(entry, body=b"\xc1")
    _later, gateway, _ = await rolled_back(stage, P)
    await gateway.do("nothing")
    again, loaded = Stage(stage.database), list[object]()
    load = again.rules.load

    def noted(data: JsonObject) -> Toy:
        loaded.append(data["lines"])
        return load(data)

    again.rules.load = noted  # type: ignore[method-assign]
    assert await lines_of(await revived(again)) == ["0", "1"]
    assert loaded == [["0", "1"]]
    assert max(stage.database.checkpoints[STREAM]) > P


@virtual
async def test_an_entry_that_kills_is_gone_back_behind_wherever_it_is() -> None:
    stage = await played()
    last = stage.journal()[-1].position
    journal = stage.database.journals[STREAM]
    (at,) = [at for at, entry in enumerate(journal) if entry.position == (1, 5)]
    journal[at] = replace(journal[at], body=b"\xc1")
    for position in [kept for kept in stage.database.checkpoints[STREAM] if kept > (1, 4)]:
        del stage.database.checkpoints[STREAM][position]
    failing = Stage(stage.database)
    await failing.host.start()
    assert await code_of(failing.host.activate(STREAM, create=False)) is Code.DATA_DAMAGED
    _later, gateway, dropped = await rolled_back(stage, Position(1, 4))
    assert dropped == last.seq - 4
    assert await lines_of(gateway) == ["0", "1", "2"]


@virtual
async def test_a_later_rollback_may_go_behind_an_earlier_one_and_forward_again_to_what_that_left() -> None:
    stage = await played()
    left = max(stage.database.checkpoints[STREAM])
    one, gateway, _ = await rolled_back(stage, Position(1, 4))
    await one.gateway.subscribe()
    await gateway.do("say", text="other")
    await one.host.stop()
    _two, gateway, dropped = await rolled_back(stage, P)
    assert (dropped, await lines_of(gateway)) == (2, ["0", "1"])
    _three, gateway, dropped = await rolled_back(stage, left)
    assert (dropped, await lines_of(gateway)) == (0, ["0", "1", "2", "3"])


@virtual
async def test_the_checkpoint_that_the_line_stands_on_is_kept_before_those_that_were_rolled_back_over() -> None:
    stage = await played(5)
    (oldest, *_) = sorted(stage.database.checkpoints[STREAM])
    later, gateway, _ = await rolled_back(stage, oldest)
    await gateway.subscribe()
    for number in range(3):
        await gateway.do("say", text=f"new {number}")
        await asyncio.sleep(40)
        kept = sorted(stage.database.checkpoints[STREAM])
        assert len(kept) == 3
        assert (oldest in kept) == (number < 2)
        # With the newest one damaged the line still leads somewhere.
        other = Stage(copy.deepcopy(stage.database))
        other.database.checkpoints[STREAM][max(kept)] = b"?"
        assert (await lines_of(await revived(other)))[-number - 1 :] == [f"new {each}" for each in range(number + 1)]
    assert all(position.epoch > oldest.epoch for position in kept)
    assert later.journal()[0].position > min(kept)


@virtual
async def test_a_checkpoint_that_a_life_before_the_rollback_writes_late_pushes_nothing_out() -> None:
    stage = await played()
    (oldest, *_) = sorted(stage.database.checkpoints[STREAM])
    late = (await stage.store.checkpoints(STREAM))[0]
    await rolled_back(stage, oldest)
    for seq in range(7, 12):
        await stage.store.put_checkpoint(STREAM, replace(late, position=Position(1, seq)), keep=3)
    assert oldest in stage.database.checkpoints[STREAM]
    again = Stage(stage.database)
    assert "3" not in await lines_of(await again.up())


@virtual
@pytest.mark.parametrize("at", [(1, 4), (1, 5)])
async def test_who_is_behind_the_rollback_gets_a_snapshot(at: tuple[int, int]) -> None:
    stage = await played()
    _, gateway, _ = await rolled_back(stage, P)
    (subscribed,) = await gateway.subscribe(at)
    assert isinstance(subscribed, Subscribed)
    assert (subscribed.gap, subscribed.pos) == (True, (2, 0))
    (opened,) = await gateway.submit(gateway.open(at))
    assert isinstance(opened, Opened)
    assert (opened.mode, opened.pos) == ("snapshot", (2, 0))


@virtual
async def test_who_is_where_the_rollback_leads_goes_on_along_the_line() -> None:
    stage = await played()
    _, gateway, _ = await rolled_back(stage, P)
    await gateway.subscribe(P)
    await gateway.do("say", text="anew")
    (opened,) = await gateway.submit(gateway.open(P))
    assert isinstance(opened, Opened)
    assert (opened.mode, texts(list(opened.batches))) == ("replay", ["anew"])


@virtual
async def test_the_journal_is_read_back_along_the_line_too() -> None:
    stage = await played()
    middle, gateway, _ = await rolled_back(stage, P)
    await gateway.subscribe()
    await gateway.do("say", text="anew")
    await middle.host.stop()
    later = Stage(stage.database)
    gateway = await later.up()
    assert later.host._live[STREAM].tail_from > (2, 0)
    for position, expected in (((1, 2), ["1", "anew"]), ((1, 3), ["anew"])):
        opened = (await gateway.submit(gateway.open(position)) or await gateway.poll())[-1]
        assert isinstance(opened, Opened)
        assert (opened.mode, texts(list(opened.batches))) == ("replay", expected)
    for position in ((1, 4), (1, 5)):
        opened = (await gateway.submit(gateway.open(position)) or await gateway.poll())[-1]
        assert isinstance(opened, Opened)
        assert opened.mode == "snapshot"


@virtual
async def test_of_two_rollbacks_at_once_one_is_refused() -> None:
    stage = await played()
    hosts = [Stage(stage.database) for _ in range(2)]
    for each in hosts:
        await each.host.start()
        each.store.landing.clear()
    tries = [asyncio.create_task(each.host.roll_back(STREAM, list(to))) for each, to in zip(hosts, (P, (1, 4)), strict=True)]
    await quiet()
    for each in hosts:
        each.store.landing.set()
    first, second = await asyncio.gather(*tries, return_exceptions=True)
    assert first == [2, 0, 2]
    assert isinstance(second, Exception)
    assert "WRONG_STATE" in str(second)


@virtual
async def test_a_rollback_is_refused_when_the_journal_went_on_since_it_was_looked_at() -> None:
    stage = await played()
    late = Stage(stage.database)
    await late.host.start()
    late.store.landing.clear()
    trying = asyncio.create_task(late.host.roll_back(STREAM, list(P)))
    await quiet()
    other = Stage(stage.database)
    await other.up()
    late.store.landing.set()
    assert await code_of(trying) is Code.WRONG_STATE
    assert await lines_of(other.gateway) == ["0", "1", "2", "3"]


@virtual
async def test_a_claim_that_meets_a_rollback_comes_to_life_on_the_new_line() -> None:
    stage = await played()
    late = Stage(stage.database)
    await late.host.start()
    late.store.landing.clear()
    claiming = asyncio.create_task(late.host.activate(STREAM, create=False))
    await quiet()
    await rolled_back(stage, P)
    late.store.landing.set()
    assert await claiming == [3, 0]
    assert await lines_of(late.gateway) == ["0", "1"]


@virtual
async def test_what_is_alive_here_is_not_rolled_back() -> None:
    stage = Stage()
    await stage.up()
    assert await code_of(stage.host.roll_back(STREAM, [1, 0])) is Code.WRONG_STATE


@virtual
@pytest.mark.parametrize(
    ("to", "code"),
    [
        ((1, 5), Code.BAD_ARGS),
        ((9, 9), Code.BAD_ARGS),
        ((1, 0), Code.BAD_ARGS),
        ((0, 0), Code.BAD_ARGS),
        ((0, 7), Code.DATA_DAMAGED),
    ],
)
async def test_where_no_rollback_leads_is_refused_and_nothing_happened(to: tuple[int, int], code: Code) -> None:
    stage = Stage()
    gateway = await stage.up()
    for number in range(4):
        await gateway.do("say", text=str(number))
    database = stage.database
    before = stage.journal()
    later = Stage(database)
    await later.host.start()
    assert await code_of(later.host.roll_back(STREAM, list(to))) is code
    assert later.journal() == before
    assert await later.live() == []


@virtual
async def test_what_has_no_journal_can_not_be_rolled_back() -> None:
    stage = Stage()
    await stage.host.start()
    assert await code_of(stage.host.roll_back(STREAM, [1, 1])) is Code.NOT_FOUND


@virtual
async def test_an_op_that_was_rolled_back_over_is_done_anew_when_it_is_asked_again() -> None:
    stage = await played()
    gateway = await (again := Stage(stage.database)).up()
    await gateway.do("say", "kept", text="kept")
    await again.host.stop()
    later, gateway, _ = await rolled_back(stage, P)
    await gateway.subscribe()
    await gateway.do("say", "kept", text="kept")
    assert later.lines().count("kept") == 2
    assert await lines_of(gateway) == ["0", "1", "kept"]


@virtual
async def test_a_store_that_fails_leaves_it_as_it_was_or_rolled_back() -> None:
    stage = await played()
    later = Stage(stage.database)
    await later.host.start()
    later.store.loses_answers = True
    assert await code_of(later.host.roll_back(STREAM, list(P))) is Code.DATABASE_UNAVAILABLE
    assert await later.live() == []
    again = Stage(stage.database)
    assert await lines_of(await again.up()) == ["0", "1"]
