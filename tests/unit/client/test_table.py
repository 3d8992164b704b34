"""The SDK as a program uses it, on a connection in memory and in virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from typing import SupportsIndex

import pytest

from tests.client_model import STREAM, ModelServer, Peer
from tests.virtual_time import run_virtual
from undying import Closed, Disconnected, OpRefused, OutcomeUnknown, Table, connect
from undying.client.events import LAGGED
from undying.client.limits import Limits
from undying.client.transport import ConnectionLost, Transport
from undying.protocol.codec import decode, encode
from undying.protocol.data import Json, JsonObject
from undying.protocol.errors import Code, Failure, UndyingError


class Outbox(list[JsonObject]):
    """What the server sends; whoever reads is woken."""

    def __init__(self, frames: Iterable[JsonObject]) -> None:
        super().__init__(frames)
        self.filled = asyncio.Event()
        self.filled.set()

    def append(self, frame: JsonObject) -> None:
        super().append(frame)
        self.filled.set()

    def __iadd__(self, frames: Iterable[JsonObject]) -> Outbox:  # type: ignore[override,misc]
        super().extend(frames)
        self.filled.set()
        return self

    def pop(self, index: SupportsIndex = -1) -> JsonObject:
        frame = super().pop(index)
        if not self:
            self.filled.clear()
        return frame


class Line:
    """A transport whose other end is the model server in the same process."""

    def __init__(self, server: ModelServer, peer: Peer) -> None:
        self.server = server
        self.peer = peer
        self.out = Outbox(peer.out)
        peer.out = self.out
        self.sent: list[JsonObject] = []
        self.lost: ConnectionLost | None = None
        self.deaf = False
        self.closed = False

    def cut(self, code: int | None = None, reason: str = "") -> None:
        self.lost = ConnectionLost(code, reason)
        if self.peer in self.server.peers:
            self.server.peers.remove(self.peer)
        self.out.filled.set()

    async def send(self, data: bytes) -> None:
        if self.lost is not None:
            raise self.lost
        frame = decode(data, "msgpack")
        self.sent.append(frame)
        if self.deaf:
            return
        code = self.server.receive(self.peer, frame)
        if code is not None:
            self.cut(code)

    async def receive(self) -> bytes | str:
        await self.out.filled.wait()
        if self.lost is not None:
            raise self.lost
        return encode(self.out.pop(0), "msgpack")

    async def close(self) -> None:
        self.closed = True


class Place:
    """A server and the lines that lead to it."""

    def __init__(self) -> None:
        self.server = ModelServer()
        self.lines: list[Line] = []
        self.open = True

    async def dial(self, url: str) -> Transport:
        if not self.open:
            raise ConnectionLost(None, "refused")
        self.lines.append(Line(self.server, self.server.connect()))
        return self.lines[-1]

    @property
    def line(self) -> Line:
        return self.lines[-1]

    def seat(self, limits: Limits | None = None) -> Table:
        return connect("http://table", "join", transport=self.dial, rng=random.Random(1), limits=limits)


def play(scene: Callable[[Place], Awaitable[None]], limit_s: float = 600.0) -> None:
    """Play a scene in virtual time."""

    async def played() -> None:
        await scene(Place())

    run_virtual(played(), limit_s=limit_s)


def test_entering_a_table_makes_it_live_and_leaving_says_so() -> None:
    async def scene(place: Place) -> None:
        async with place.seat() as table:
            assert (table.status, table.user, table.name, table.role, table.stream) == ("live", "u", "Una", "gm", STREAM)
        assert table.status == "closed"
        assert place.line.sent[-1] == {"t": "leave"}
        assert place.line.closed

    play(scene)


def test_an_op_returns_its_result_when_it_is_acknowledged() -> None:
    async def scene(place: Place) -> None:
        async with place.seat() as table:
            assert await table.op(STREAM, "chat.say", text="a") == {"n": 1}
            await table.say("b", to=["v"])
        assert place.server.texts() == ["a", "b"]
        assert place.line.sent[-2]["d"] == {"text": "b", "mode": "ic", "to": ["v"]}

    play(scene)


def test_a_whisper_to_nobody_is_not_turned_into_a_line_for_all() -> None:
    async def scene(place: Place) -> None:
        async with place.seat() as table:
            await table.say("only between us", to=[])
        said = place.line.sent[-2]["d"]
        assert isinstance(said, dict)
        assert said["to"] == []

    play(scene)


def test_a_call_outlasts_cut_connections() -> None:
    async def scene(place: Place) -> None:
        async with place.seat() as table:
            place.line.deaf = True
            call = asyncio.create_task(table.say("a"))
            for _ in range(3):
                await asyncio.sleep(1.0)
                place.line.cut()
            await call
            assert place.server.texts() == ["a"]

    play(scene)


def test_a_call_outlasts_a_server_that_is_away_for_minutes() -> None:
    async def scene(place: Place) -> None:
        async with place.seat() as table:
            place.open = False
            place.line.cut()
            call = asyncio.create_task(table.say("a"))
            await asyncio.sleep(300.0)
            assert not call.done()
            place.open = True
            await call
            assert len(place.lines) == 2

    play(scene)


def test_a_refused_op_raises_what_the_server_said() -> None:
    async def scene(place: Place) -> None:
        async with place.seat() as table:
            with pytest.raises(OpRefused) as refused:
                await table.op(STREAM, "forbidden")
            assert refused.value.failure.code is Code.FORBIDDEN

    play(scene)


def test_an_op_that_may_have_been_done_raises_another_exception_than_a_refusal() -> None:
    async def scene(place: Place) -> None:
        async with place.seat(Limits(tries=2)) as table:
            place.line.deaf = True
            call = asyncio.create_task(table.say("a"))
            error = Failure(Code.UNAVAILABLE, "it may yet have been done").to_wire()
            for _ in range(2):
                await table.until(lambda: place.line.sent[-1]["t"] == "op")
                op_id = place.line.sent.pop()["id"]
                place.line.out.append({"t": "ack", "id": op_id, "ok": False, "error": error})
                await asyncio.sleep(5.0)
            with pytest.raises(OutcomeUnknown) as unknown:
                await call
            assert unknown.value.failure.code is Code.UNAVAILABLE
            assert not isinstance(unknown.value, OpRefused)

    play(scene)


def test_a_wait_notices_events_that_this_viewer_may_not_see() -> None:
    async def scene(place: Place) -> None:
        async with place.seat() as table:
            wait = asyncio.create_task(table.until(lambda: table.positions[STREAM] == (1, 3)))
            await asyncio.sleep(0)
            place.server.hide(3)
            async with asyncio.timeout(1.0):
                await wait

    play(scene)


def test_a_wait_for_all_calls_to_end_notices_one_that_was_given_up() -> None:
    async def scene(place: Place) -> None:
        async with place.seat() as table:
            place.line.deaf = True
            call = asyncio.create_task(table.say("a"))
            await table.until(lambda: table.pending == 1)
            call.cancel()
            async with asyncio.timeout(1.0):
                await table.until(lambda: table.pending == 0)

    play(scene)


@pytest.mark.parametrize("value", [float("nan"), "\ud800", b"bytes", 2**64])
def test_an_argument_that_is_no_plain_data_is_the_callers_error_and_nothing_is_sent(value: Json) -> None:
    async def scene(place: Place) -> None:
        async with place.seat() as table:
            with pytest.raises(UndyingError, match="BAD_FRAME"):
                await table.op(STREAM, "chat.say", text=value)
            assert (table.pending, table.status) == (0, "live")

    play(scene)


def test_an_op_larger_than_the_server_takes_is_refused_here_and_the_table_stays() -> None:
    async def scene(place: Place) -> None:
        async with place.seat() as table:
            with pytest.raises(OpRefused) as refused:
                await table.say("x" * 70_000)
            assert refused.value.failure.code is Code.FRAME_TOO_LARGE
            await table.say("smaller")

    play(scene)


def test_more_calls_than_the_bound_are_refused_and_the_others_go_on() -> None:
    async def scene(place: Place) -> None:
        async with place.seat(Limits(pending=3)) as table:
            place.line.deaf = True
            calls = [asyncio.create_task(table.say(str(n))) for n in range(4)]
            await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
            with pytest.raises(OpRefused, match="OVERLOADED"):
                await calls[3]
            place.line.cut()
            await asyncio.gather(*calls[:3])
            assert place.server.texts() == ["0", "1", "2"]

    play(scene)


def test_a_call_that_its_caller_gave_up_leaves_nothing_behind() -> None:
    async def scene(place: Place) -> None:
        async with place.seat() as table:
            place.line.deaf = True
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1.0):
                    await table.say("too late")
            assert table.pending == 0
            place.line.cut()
            await table.say("next")
            assert place.server.texts() == ["next"]

    play(scene)


def test_calls_under_way_when_the_table_is_closed_raise_closed() -> None:
    async def scene(place: Place) -> None:
        async with place.seat() as table:
            place.line.deaf = True
            call = asyncio.create_task(table.say("a"))
            await asyncio.sleep(0)
        with pytest.raises(Closed):
            await call
        with pytest.raises(Closed):
            await table.say("b")

    play(scene)


def test_a_server_that_says_stop_ends_calls_and_events_with_its_reason() -> None:
    async def scene(place: Place) -> None:
        async with place.seat() as table:
            events = table.events()
            place.line.deaf = True
            call = asyncio.create_task(table.say("a"))
            await asyncio.sleep(0)
            place.line.cut(4003, "removed")
            with pytest.raises(Disconnected) as ended:
                await call
            assert ended.value.failure.code is Code.FORBIDDEN
            with pytest.raises(Disconnected):
                await anext(events)
            assert table.status == "closed"

    play(scene)


def test_entering_fails_when_the_token_is_refused() -> None:
    async def scene(place: Place) -> None:
        place.server.tokens.clear()
        with pytest.raises(Disconnected) as refused:
            async with place.seat():
                raise AssertionError("nobody gets in")
        assert refused.value.failure.code is Code.NOT_AUTHENTICATED

    play(scene)


def test_entering_fails_when_nobody_answers_for_thirty_seconds() -> None:
    async def scene(place: Place) -> None:
        place.open = False
        with pytest.raises(Disconnected) as refused:
            async with place.seat():
                raise AssertionError("nobody gets in")
        assert refused.value.failure.context == {"last": "refused"}
        assert asyncio.get_running_loop().time() == pytest.approx(30.0)

    play(scene)


def test_each_subscriber_hears_every_event_once_and_in_order_over_cuts_and_claims() -> None:
    async def scene(place: Place) -> None:
        async with place.seat() as table:
            first, second = table.events(), table.events()
            for n in range(6):
                place.server.say(str(n))
                if n % 2:
                    place.line.cut()
                    place.server.claim()
                    await table.until(lambda: table.status == "reconnecting")
                await table.until(lambda: table.status == "live")
            for events in (first, second):
                heard = [(await anext(events)) for _ in range(9)]
                assert [event.data["text"] for event in heard if event.kind == "chat.said"] == list("012345")

    play(scene)


def test_a_slow_subscriber_is_told_how_many_events_it_lost_and_where() -> None:
    async def scene(place: Place) -> None:
        async with place.seat(Limits(queue=2)) as table:
            events = table.events()
            for n in range(5):
                await table.say(str(n))
            heard = [await anext(events) for _ in range(3)]
            assert [event.data.get("text") for event in heard] == ["0", "1", None]
            assert (heard[2].kind, heard[2].data) == (LAGGED, {"lost": 3})
            await table.say("5")
            assert (await anext(events)).data["text"] == "5"

    play(scene)


def test_events_end_when_the_table_is_left() -> None:
    async def scene(place: Place) -> None:
        async with place.seat() as table:
            events = table.events()
            await table.say("a")
        assert [event.kind async for event in events] == ["chat.said"]

    play(scene)


def test_a_reader_that_went_away_is_forgotten() -> None:
    async def scene(place: Place) -> None:
        async with place.seat() as table:
            table.events()
            await table.say("a")
            assert table._subscriptions == []

    play(scene)


def test_status_changes_are_told_in_order() -> None:
    async def scene(place: Place) -> None:
        table = place.seat()
        told: list[str] = []
        stop = table.on_status(told.append)
        async with table:
            place.line.cut()
            await table.until(lambda: table.status == "reconnecting")
            await table.until(lambda: table.status == "live")
            await asyncio.sleep(0)
            assert told == ["live", "reconnecting", "live"]
            stop()
        assert told == ["live", "reconnecting", "live"]

    play(scene)


def test_the_state_is_the_snapshot_and_what_happened_since() -> None:
    async def scene(place: Place) -> None:
        place.server.say("before")
        async with place.seat() as table:
            assert table.state.session["texts"] == ["before"]
            await table.say("a")
            assert table.state.chat == [{"text": "a", "by": "u", "at": 1}]

    play(scene)


def test_a_signal_is_sent_now_or_not_at_all() -> None:
    async def scene(place: Place) -> None:
        async with place.seat() as table:
            table.signal("typing", on=True)
            await table.say("a")
            assert place.line.sent[-2] == {"t": "eph", "s": STREAM, "k": "typing", "d": {"on": True}}
            place.open = False
            place.line.cut()
            await table.until(lambda: table.status == "reconnecting")
            table.signal("typing", on=False)
            place.open = True
            await table.until(lambda: table.status == "live")
            assert [frame["t"] for frame in place.line.sent] == ["join"]

    play(scene)


def test_a_server_that_fell_silent_is_left_for_a_new_connection() -> None:
    async def scene(place: Place) -> None:
        async with place.seat() as table:
            place.server.mute = True
            await table.until(lambda: table.status == "reconnecting")
            assert asyncio.get_running_loop().time() == pytest.approx(50.0)
            await table.until(lambda: table.status == "live")
            assert place.lines[0].closed

    play(scene)


def test_two_runs_with_one_seed_are_the_same() -> None:
    def run() -> list[list[JsonObject]]:
        sent: list[list[JsonObject]] = []

        async def scene(place: Place) -> None:
            async with place.seat() as table:
                for n in range(3):
                    await table.say(str(n))
                    place.line.cut()
            sent.extend(line.sent for line in place.lines)

        play(scene)
        return sent

    assert run() == run()


@pytest.mark.parametrize("url", ["", "table.example", "ftp://table", "http://"])
def test_a_url_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="not the url of a server"):
        connect(url, "token")
