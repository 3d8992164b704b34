"""What happened, as the clients saw it: acknowledgements at their sockets, events as the SDK gave them out.

A `Tap` is a transport around the real one. It notes when an op first left, when which ack came, and when the connection broke;
it changes nothing. A `Witness` reads a table's events. A question to an AI provider shows twice: as an op like any other, and
as one that an answer has to follow, known by the id that the server gave it. Times are of the event loop's clock, in seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from undying.client.events import LAGGED, TableEvent
from undying.client.failures import Disconnected
from undying.client.table import Table
from undying.client.transport import ConnectionLost, Dial, Transport
from undying.protocol.codec import decode
from undying.protocol.data import Json, JsonObject
from undying.protocol.position import Position, parse_position


class Trace(NamedTuple):
    """How an op shows: the event it makes, and the argument that says which op it was, under one name in op and event."""

    event: str
    mark: str | None


TRACES: Final[Mapping[str, Trace]] = {
    "chat.say": Trace("chat.said", "text"),
    "dice.roll": Trace("dice.rolled", "label"),
    "hp.change": Trace("hp.changed", "reason"),
    "initiative.next": Trace("turn.changed", None),
    "ai.ask": Trace("ai.asked", "prompt"),
}
"""The ops that are judged: all that a play consists of."""

ANSWERED: Final = "ai.answered"
FAILED: Final = "ai.failed"

_MARKS: Final = {trace.event: trace.mark for trace in TRACES.values()}


class Fact(NamedTuple):
    """What an op means, without where it ended up: equal for an op and its event."""

    stream: str
    event: str
    by: str
    mark: str


class Ack(NamedTuple):
    """An op that a client (by number) was told is done, and where. `sent_s` is when it first left."""

    client: int
    fact: Fact
    position: Position
    sent_s: float
    acked_s: float


class Seen(NamedTuple):
    """An event that a client was given."""

    fact: Fact
    position: Position


class Answer(NamedTuple):
    """The end of a question that a client was told: `ANSWERED` or `FAILED`."""

    question: str
    event: str


@dataclass(slots=True)
class Notes:
    """All that one client's side wrote down. `asked`: every op that left, acknowledged or not, once."""

    client: int
    user: str = ""
    asked: dict[str, tuple[Fact, float]] = field(default_factory=dict)
    acks: list[Ack] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    questions: dict[str, str] = field(default_factory=dict)
    """The questions to AI providers that were asked, by their ids: their marks."""
    answers: list[Answer] = field(default_factory=list)
    broken_s: list[float] = field(default_factory=list)
    missed: int = 0
    """Events that this side itself dropped because it read too slowly; none, or who watches is at fault."""


class Tap:
    """Opens transports that write down what passes. `dial` opens the real ones, for MessagePack; `left` is set by each op."""

    def __init__(self, notes: Notes, dial: Dial, clock: Callable[[], float], left: asyncio.Event) -> None:
        self.notes = notes
        self.clock = clock
        self.left = left
        self._dial = dial
        self._answered: set[str] = set()

    async def dial(self, url: str) -> Transport:
        """Open a transport (an `undying.client.transport.Dial`)."""
        return TappedTransport(await self._dial(url), self)

    def leaving(self, frame: JsonObject) -> None:
        """Note an op on its way, the first time."""
        op_id, stream, kind, args = str(frame["id"]), str(frame["s"]), str(frame["k"]), frame["d"]
        if kind in TRACES and isinstance(args, dict):
            fact = _fact(stream, TRACES[kind].event, self.notes.user, args)
            self.notes.asked.setdefault(op_id, (fact, self.clock()))

    def arrived(self, frame: JsonObject) -> None:
        """Note an acknowledgement, the first of each op."""
        op_id, position = str(frame["id"]), parse_position(frame.get("pos"))
        if frame["ok"] and position is not None and op_id in self.notes.asked and op_id not in self._answered:
            self._answered.add(op_id)
            fact, sent_s = self.notes.asked[op_id]
            self.notes.acks.append(Ack(self.notes.client, fact, position, sent_s, self.clock()))


class TappedTransport:
    """See the module."""

    def __init__(self, inner: Transport, tap: Tap) -> None:
        self._inner = inner
        self._tap = tap

    async def send(self, data: bytes) -> None:
        """Send one message."""
        frame = decode(data, "msgpack")
        if frame["t"] == "op":
            self._tap.leaving(frame)
        await self._inner.send(data)
        if frame["t"] == "op":
            self._tap.left.set()

    async def receive(self) -> bytes | str:
        """Return the next message."""
        try:
            data = await self._inner.receive()
        except ConnectionLost:
            self._tap.notes.broken_s.append(self._tap.clock())
            raise
        if isinstance(data, bytes) and b"ack" in data:  # most frames are events, and reading all of them twice would cost
            frame = decode(data, "msgpack")
            if frame["t"] == "ack":
                self._tap.arrived(frame)
        return data

    async def close(self) -> None:
        """Close."""
        await self._inner.close()


class Witness:
    """Writes down a table's events, from when it is made until the table is left."""

    def __init__(self, table: Table, notes: Notes) -> None:
        self._events = table.events()
        self._notes = notes
        self._task = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        with suppress(Disconnected):  # then this client's history ends here, which the verdict will tell
            async for event in self._events:
                self._note(event)

    def _note(self, event: TableEvent) -> None:
        if event.kind == LAGGED:
            lost = event.data.get("lost")
            self._notes.missed += lost if isinstance(lost, int) else 1
        elif event.kind in (ANSWERED, FAILED):
            self._notes.answers.append(Answer(str(event.data.get("ask")), event.kind))
        elif event.position is not None and event.kind in _MARKS:
            seen = Seen(_fact(event.stream, event.kind, event.by, event.data), event.position)
            self._notes.seen.append(seen)
            if event.kind == "ai.asked":
                self._notes.questions[str(event.data.get("ask"))] = seen.fact.mark

    async def finish(self) -> None:
        """Wait until all is written down; the table has been left."""
        await self._task


def _fact(stream: str, event: str, by: str, data: Mapping[str, Json]) -> Fact:
    mark = _MARKS[event]
    return Fact(stream, event, by, "" if mark is None else str(data.get(mark, "")))
