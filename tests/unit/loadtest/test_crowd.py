"""A crowd plays in lanes, one op after the other, and says how long each took."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

from undying.client.failures import OpRefused
from undying.client.table import Table
from undying.loadtest.crowd import ORACLE, Crowd
from undying.loadtest.history import Ack, Fact, Notes
from undying.protocol.data import Json
from undying.protocol.errors import Code, Failure
from undying.protocol.position import Position

SESSION = "session:table"


class Seat:
    """A client at a table that answers as soon as it is let: `open` lets all ops be done."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.stream = SESSION
        self.said: list[str] = []
        self.asked = asyncio.Event()
        self.open = asyncio.Event()
        self.open.set()
        self.refuses = False
        self.positions = {SESSION: Position(1, 5)}
        self.state = SimpleNamespace(asks=list[Json]())

    async def say(self, text: str) -> None:
        self.asked.set()
        await self.open.wait()
        await asyncio.sleep(0)
        if self.refuses:
            raise OpRefused(Failure(Code.FORBIDDEN, "no"))
        self.said.append(text)

    async def roll(self, _expr: str, *, label: str) -> None:
        await asyncio.sleep(0)

    def character(self, character_id: str) -> SimpleNamespace:
        async def damage(_points: int, reason: str) -> None:
            await asyncio.sleep(0)

        return SimpleNamespace(stream=f"character:{character_id}", damage=damage)

    async def ask_ai(self, prompt: str) -> str:
        asyncio.get_running_loop().call_soon(self.state.asks.append, {"ask": f"id of {prompt}", "text": "Yes."})
        return f"id of {prompt}"

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():  # noqa: ASYNC110 - a turn of the loop at a time
            await asyncio.sleep(0)


def _crowd(*seats: Seat) -> Crowd:
    return Crowd(cast("list[Table]", seats), [Notes(client) for client, _ in enumerate(seats)], "c", pause_s=0.0)


async def test_a_lane_asks_one_op_after_the_other_each_with_a_mark_of_its_own() -> None:
    seat = Seat("Ada")
    crowd = _crowd(seat)
    crowd.play()
    assert await crowd.played(SESSION, 20, 5.0)
    await crowd.rest()
    assert seat.said == [f"Ada-say-{number}" for number in range(1, len(seat.said) + 1)]
    assert {turn.stream for turn in crowd.turns} == set(crowd.streams)


async def test_a_crowd_that_rests_asks_nothing_any_more_and_waits_for_what_is_under_way() -> None:
    seat = Seat("Ada")
    crowd = _crowd(seat)
    seat.open.clear()
    crowd.play()
    resting = asyncio.create_task(crowd.rest())
    await seat.asked.wait()
    assert not resting.done()
    seat.open.set()
    await resting
    assert seat.said == ["Ada-say-1"]


async def test_one_op_can_be_asked_of_each_stream_with_a_word_in_its_mark() -> None:
    seat = Seat("Ada")
    crowd = _crowd(seat)
    for stream in crowd.streams:
        turn = await crowd.one(stream, "now")
        assert turn is not None
        assert turn.stream == stream
    assert seat.said == ["Ada-say-1 now"]


async def test_a_question_is_answered_when_its_answer_was_heard() -> None:
    seat = Seat("Ada")
    await _crowd(seat).one(ORACLE)
    assert seat.state.asks == [{"ask": "id of Ada-ask-1", "text": "Yes."}]


async def test_a_call_that_fails_is_written_down_and_the_lane_goes_on() -> None:
    seat = Seat("Ada")
    seat.refuses = True
    crowd = _crowd(seat)
    assert await crowd.one(SESSION) is None
    seat.refuses = False
    assert await crowd.one(SESSION) is not None
    assert len(crowd.refused) == 1
    assert "Ada-say-1" in crowd.refused[0]


async def test_the_next_turn_after_a_moment_is_one_that_was_asked_after_it() -> None:
    seat, clock = Seat("Ada"), asyncio.get_running_loop().time
    crowd = _crowd(seat)
    seat.open.clear()
    before = asyncio.create_task(crowd.one(SESSION))
    await asyncio.sleep(0)
    moment_s = clock()
    waiting = asyncio.create_task(crowd.next_turn(SESSION, moment_s, 5.0))
    seat.open.set()
    await before
    assert not waiting.done()
    asked = await crowd.one(SESSION)
    assert await waiting == asked
    assert await crowd.next_turn(SESSION, moment_s, 5.0) == asked  # also for who asks late


async def test_without_any_turn_in_time_there_is_no_next_one() -> None:
    crowd = _crowd(Seat("Ada"))
    assert await crowd.next_turn(SESSION, 0.0, 0.0) is None
    assert not await crowd.played(SESSION, 1, 0.0)


async def test_a_crowd_converges_when_everybody_has_heard_what_anybody_was_told_is_done() -> None:
    ahead, behind = Seat("Ada"), Seat("Bea")
    crowd = _crowd(ahead, behind)
    ahead.positions[SESSION] = Position(1, 7)
    crowd.notes[1].acks.append(Ack(1, Fact(SESSION, "chat.said", "bea", "x"), Position(1, 8), 0.0, 1.0))
    converging = asyncio.create_task(crowd.converge())
    for seat in (behind, ahead):
        await asyncio.sleep(0.0)
        assert not converging.done()
        seat.positions[SESSION] = Position(1, 8)
    assert await converging
