"""How many frames a client may send, counted under virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import pytest
from websockets.protocol import State
from websockets.server import ServerProtocol

from gateway.inbox import BURST_S, Inbox
from gateway.metrics import Metrics
from gateway.sockets import SocketSettings, frames_per_s
from tests.virtual_time import run_virtual

PER_S = 100


@dataclass
class Line:
    """A connection that is only an inbox, with the transport and the edge that it needs."""

    frames_per_s: int = PER_S
    heard: list[bytes | str] = field(default_factory=list)
    closed: int | None = None
    cut: bool = False

    def __post_init__(self) -> None:
        self.ws = ServerProtocol(state=State.OPEN)
        transport, settings = cast(asyncio.Transport, self), SocketSettings(frames_per_s=self.frames_per_s)
        self.inbox = Inbox(self.ws, transport, "msgpack", settings, Metrics(), self)
        self.inbox.receive = self.heard.append

    async def send(self, count: int, opcode: int = 2) -> None:
        """Let the inbox have frames of no content, and look at all of them."""
        self.inbox.feed(bytes([0x80 | opcode, 0x80, 0, 0, 0, 0]) * count)
        for _ in range(count):
            await asyncio.sleep(0)

    def close(self, code: int, reason: str) -> None:
        self.closed = code
        self.inbox.end(goodbye=True)

    def goodbye(self) -> None:
        self.cut = True
        self.inbox.end(goodbye=False)

    def answer(self) -> None:
        self.ws.data_to_send()

    def guarded(self, call: Callable[[], None]) -> None:
        call()

    def is_closing(self) -> bool:
        return self.closed is not None

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


@pytest.mark.parametrize("opcode", [2, 9, 10])
def test_frames_saved_up_and_those_earned_since_are_taken_and_one_more_ends_the_connection(opcode: int) -> None:
    async def run() -> None:
        line = Line()
        await line.send(int(BURST_S * PER_S), opcode)
        await asyncio.sleep(1.001)
        await line.send(PER_S, opcode)
        assert line.closed is None
        await line.send(1, opcode)
        assert line.closed == 4108

    run_virtual(run(), limit_s=100)


def test_who_was_silent_for_long_has_saved_up_no_more_than_twice_the_bound() -> None:
    async def run() -> None:
        line = Line()
        await asyncio.sleep(3_600)
        await line.send(int(2 * BURST_S * PER_S), opcode=10)
        assert line.closed is None
        await line.send(1, opcode=10)
        assert line.closed == 4108

    run_virtual(run(), limit_s=4_000)


def test_nothing_of_a_read_that_holds_too_many_frames_is_heard_after_the_end() -> None:
    async def run() -> None:
        line = Line()
        await line.send(int(BURST_S * PER_S) + 2_000)
        assert line.closed == 4108
        assert len(line.heard) <= BURST_S * PER_S

    run_virtual(run(), limit_s=10)


def test_frames_after_our_goodbye_are_counted_too_and_too_many_are_not_waited_through() -> None:
    async def run() -> None:
        line = Line()
        line.close(4003, "out")
        await line.send(int(BURST_S * PER_S))
        assert not line.cut
        await line.send(1)
        assert line.cut
        assert line.heard == []

    run_virtual(run(), limit_s=10)


def test_the_goodbye_of_a_client_is_found_behind_what_it_had_sent_before() -> None:
    async def run() -> None:
        line = Line(frames_per_s=0)
        line.inbox.pause()
        await line.send(2_000)
        line.inbox.feed(bytes([0x88, 0x80, 0, 0, 0, 0]))
        line.close(4003, "out")
        for _ in range(200):
            await asyncio.sleep(0)
        assert line.cut
        assert line.heard == []

    run_virtual(run(), limit_s=10)


def test_without_a_rate_there_is_no_limit() -> None:
    async def run() -> None:
        line = Line(frames_per_s=0)
        await line.send(20_000)
        assert (line.closed, len(line.heard)) == (None, 20_000)

    run_virtual(run(), limit_s=10)


def test_a_client_may_send_a_multiple_of_its_ops_in_frames_and_some_hundred_at_least() -> None:
    assert (frames_per_s(30), frames_per_s(1), frames_per_s(0)) == (600, 300, 0)
