"""The tap writes down what passes a socket, once, and changes nothing."""

import asyncio
from collections.abc import Iterator

from undying.client.transport import ConnectionLost, Transport
from undying.loadtest.history import Ack, Fact, Notes, Tap
from undying.protocol.codec import encode
from undying.protocol.data import JsonObject
from undying.protocol.position import Position

OP: JsonObject = {"t": "op", "id": "o1", "s": "session:s", "k": "chat.say", "d": {"text": "Hello.", "mode": "ic"}}
ACK: JsonObject = {"t": "ack", "id": "o1", "ok": True, "s": "session:s", "pos": [1, 7], "d": {}}
FACT = Fact("session:s", "chat.said", "ann", "Hello.")


class Wire:
    """A connection that keeps what is sent and brings what it was given, then breaks."""

    def __init__(self, *incoming: JsonObject) -> None:
        self.sent: list[bytes] = []
        self._incoming: Iterator[bytes] = iter([encode(frame, "msgpack") for frame in incoming])

    async def send(self, data: bytes) -> None:
        self.sent.append(data)

    async def receive(self) -> bytes | str:
        for data in self._incoming:
            return data
        raise ConnectionLost(None, "broke")

    async def close(self) -> None:
        pass


class Ticks:
    """A clock that is one second on at each look."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


async def _tapped(wire: Wire, notes: Notes, left: asyncio.Event | None = None) -> Transport:
    async def dial(_: str) -> Transport:
        return wire

    return await Tap(notes, dial, Ticks(), left or asyncio.Event()).dial("http://server")


async def _run_dry(transport: Transport) -> None:
    try:
        while True:
            await transport.receive()
    except ConnectionLost:
        return


async def test_an_op_and_its_acknowledgement_are_noted_with_their_times() -> None:
    notes, left, wire = Notes(3, "ann"), asyncio.Event(), Wire(ACK)
    transport = await _tapped(wire, notes, left)
    await transport.send(encode(OP, "msgpack"))
    assert left.is_set()
    await _run_dry(transport)
    assert notes.acks == [Ack(3, FACT, Position(1, 7), 1.0, 2.0)]
    assert notes.broken_s == [3.0]
    assert wire.sent == [encode(OP, "msgpack")]


async def test_an_op_that_is_sent_again_keeps_the_time_of_the_first_and_counts_once() -> None:
    notes = Notes(0, "ann")
    transport = await _tapped(Wire(ACK, {**ACK, "dup": True}), notes)
    await transport.send(encode(OP, "msgpack"))
    await transport.send(encode(OP, "msgpack"))
    await _run_dry(transport)
    assert notes.asked == {"o1": (FACT, 1.0)}
    assert [ack.acked_s for ack in notes.acks] == [3.0]


async def test_a_refusal_is_no_acknowledgement() -> None:
    notes = Notes(0, "ann")
    transport = await _tapped(Wire({"t": "ack", "id": "o1", "ok": False, "error": {"code": "BAD_ARGS"}}), notes)
    await transport.send(encode(OP, "msgpack"))
    await _run_dry(transport)
    assert list(notes.asked) == ["o1"]
    assert notes.acks == []


async def test_ops_that_are_no_part_of_a_play_are_not_noted() -> None:
    notes = Notes(0, "ann")
    transport = await _tapped(Wire(ACK), notes)
    await transport.send(encode({**OP, "k": "session.rename", "d": {"name": "x"}}, "msgpack"))
    await _run_dry(transport)
    assert (notes.asked, notes.acks) == ({}, [])
