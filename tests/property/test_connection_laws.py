"""The law of connections: each event above a client's position once and in order, or a snapshot."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any

import msgpack
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.auth import Tokens
from gateway.connection import Connection
from gateway.hub import Hub, HubSettings
from gateway.metrics import Metrics
from tests.unit.gateway.scripted_host import NOW_S, SESSION, FakeSocket, send
from tests.virtual_time import run_virtual
from undying.protocol.events import GMS
from undying.protocol.ids import Role
from undying.protocol.link import (
    NO_POSITION,
    Acked,
    Batch,
    JoinItem,
    Opened,
    OpenItem,
    Subscribed,
    SubscribeItem,
    ToGateway,
    ToHost,
    pack_messages,
    unpack_items,
)

Pos = tuple[int, int]


@dataclass
class HistoryHost:
    """A host that knows one stream's whole history, answers a little late, and may lose batches on the way."""

    name: str = "host"
    entries: list[Batch] = field(default_factory=list)
    keeps: int = 0
    out: list[ToGateway] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    number: int = 0
    held: list[ToHost] = field(default_factory=list)

    @property
    def position(self) -> Pos:
        return (self.entries[-1].epoch, self.entries[-1].last)

    def claim(self) -> None:
        prev = self.position if self.entries else (0, 0)
        event = {"n": 0, "k": "claimed", "d": {"prev": list(prev)}, "by": "@", "at": 0}
        self.entries.append(Batch("ev", SESSION, prev[0] + 1, 0, 0, True, msgpack.packb([event]), b""))

    def commit(self, secrets: list[bool]) -> None:
        epoch, seq = self.position
        body: list[dict[str, Any]] = []
        for at, secret in enumerate(secrets):
            entry: dict[str, Any] = {"n": seq + 1 + at, "k": "said", "by": "x", "at": 0}
            views: dict[str, Any] = {"v": [[[GMS], {}]]} if secret else {"d": {}}
            body.append(entry | views)
        last = seq + len(secrets)
        self.entries.append(Batch("ev", SESSION, epoch, seq + 1, last, not any(secrets), msgpack.packb(body), b""))

    def since(self, pos: Pos) -> list[Batch] | None:
        """Return what came after a position, None when that can't be told."""
        kept = self.entries[self.keeps :]
        after = [each for each in kept if (each.epoch, each.last) > pos]
        if pos == self.position:
            return []
        if not after or pos > self.position:
            return None
        first = after[0]
        if first.first == 0:
            return after if tuple(msgpack.unpackb(first.body)[0]["d"]["prev"]) == pos else None
        return after if first.epoch == pos[0] and first.first - 1 <= pos[1] else None

    async def submit(self, gateway: str, call: int, payload: bytes) -> tuple[int, bytes]:
        self.held += unpack_items(payload)
        return self._take()

    def close(self) -> None:
        return None

    async def poll(self, gateway: str) -> tuple[int, bytes]:
        await self.news.wait()
        self.news.clear()
        return self._take()

    def answer(self, count: int) -> None:
        """Answer the oldest things that were asked."""
        asked, self.held = self.held[:count], self.held[count:]
        for item in asked:
            if isinstance(item, JoinItem):
                result: Any = {"role": item.role, "name": item.name, "streams": [SESSION]}
                self.say(Acked("ack", item.ref, self.position, result, None, False))
            elif isinstance(item, SubscribeItem):
                missed = None if item.pos == NO_POSITION else self.since(item.pos)
                self.say(Subscribed("subd", item.ref, SESSION, missed is None, self.position, missed or []))
            elif isinstance(item, OpenItem):
                self.say(self._opened(item))

    def _opened(self, item: OpenItem) -> Opened:
        missed = None if item.pos == NO_POSITION else self.since(item.pos)
        if missed is None:
            return Opened("opened", item.ref, SESSION, "snapshot", self.position, msgpack.packb({}), [], "")
        return Opened("opened", item.ref, SESSION, "replay" if missed else "live", self.position, b"", missed, "")

    def say(self, message: ToGateway) -> None:
        self.out.append(message)
        self.news.set()

    def _take(self) -> tuple[int, bytes]:
        self.number += 1
        out, self.out = self.out, []
        return self.number, pack_messages(out)


@dataclass
class Locator:
    """Everything lives in one host."""

    host: HistoryHost

    async def locate(self, stream: str, *, create: bool, avoid: str) -> HistoryHost:
        return self.host


@dataclass
class Client:
    """One connection, the position that its client resumed from, and how many messages the client has read."""

    socket: FakeSocket
    connection: Connection
    resumed: Pos | None
    read: int = 0
    asked: int = 0

    def beat(self) -> None:
        """Send a heartbeat of what was read, unless the client still waits for the answer to the one before."""
        read = self.socket.got[: self.read]
        welcomed = any(message["t"] == "welcome" for message in read)
        if welcomed and sum(message["t"] == "hb_ok" for message in read) == self.asked:
            self.asked += 1
            send(self.connection, {"t": "hb", "pos": {SESSION: self.position(self.read)}, "time": 0})

    def position(self, read: int | None = None) -> Pos | None:
        """Check that what the client was given, or has read of it, is contiguous; return where it leads to."""
        here = self.resumed
        welcomed = False
        for message in self.socket.got[:read]:
            if message["t"] == "welcome":
                welcomed = True
            elif message["t"] == "snapshot":
                here = tuple(message["pos"])
            elif message["t"] == "ev":
                assert welcomed
                for event in message["b"]:
                    assert here is not None
                    here = _next(here, message["e"], event)
            elif message["t"] == "live":
                assert tuple(message["pos"]) == here
        return here


def _next(here: Pos, epoch: int, event: dict[str, Any]) -> Pos:
    if event["n"] == 0:
        assert tuple(event["d"]["prev"]) == here
        return (epoch, 0)
    assert (epoch, event["n"]) == (here[0], here[1] + 1), "a gap or a repeat"
    return (epoch, event["n"] + event.get("skip", 1) - 1)


STEPS = st.one_of(
    st.tuples(st.just("commit"), st.lists(st.booleans(), min_size=1, max_size=3)),
    st.tuples(st.just("lose"), st.lists(st.booleans(), min_size=1, max_size=3)),
    st.tuples(st.just("repeat"), st.integers(0, 9)),
    st.tuples(st.just("answer"), st.integers(1, 4)),
    st.tuples(st.just("join"), st.one_of(st.none(), st.tuples(st.integers(0, 3), st.integers(0, 9)))),
    st.tuples(st.just("claim"), st.none()),
    st.tuples(st.just("forget"), st.integers(1, 3)),
    st.tuples(st.just("turn"), st.none()),
    st.tuples(st.just("read"), st.tuples(st.integers(0, 9), st.integers(1, 5))),
    st.tuples(st.just("beat"), st.integers(0, 9)),
)

CROSSING: list[tuple[str, Any]] = [
    ("commit", [False, False]),
    ("join", (1, 0)),
    *[("answer", 4)] * 6,
    ("read", (0, 2)),
    ("beat", 0),
]
"""A heartbeat of a client that has read its welcome and not yet the replay behind it."""


@settings(max_examples=250, deadline=None)
@given(st.lists(STEPS, max_size=40))
@example(CROSSING)
def test_a_client_is_given_each_event_once_or_a_snapshot_whatever_gets_lost(steps: list[tuple[str, Any]]) -> None:
    run_virtual(_play(steps), limit_s=60)


async def _play(steps: list[tuple[str, Any]]) -> None:
    host = HistoryHost()
    host.claim()
    tokens = Tokens(b"s" * 32, lambda: NOW_S)
    hub = Hub("g", Locator(host), tokens, HubSettings(), Metrics(), random.Random(1), lambda: NOW_S * 1000)
    clients: list[Client] = []
    for kind, value in steps:
        if kind in ("commit", "lose"):
            host.commit(value)
            if kind == "commit":
                host.say(host.entries[-1])
        elif kind == "repeat":
            host.say(host.entries[value % len(host.entries)])
        elif kind == "answer":
            host.answer(value)
        elif kind == "claim":
            host.claim()
            host.say(host.entries[-1])
        elif kind == "forget":
            host.keeps = min(len(host.entries) - 1, host.keeps + value)
        elif kind == "join":
            clients.append(_join(hub, tokens, f"user{len(clients)}", value))
        elif kind == "read" and clients:
            client = clients[value[0] % len(clients)]
            client.read = min(len(client.socket.got), client.read + value[1])
        elif kind == "beat" and clients:
            clients[value % len(clients)].beat()
        await asyncio.sleep(0.001)
    host.commit([False])
    host.say(host.entries[-1])
    for _ in range(12):
        await asyncio.sleep(0.05)
        host.answer(100)
    for client in clients:
        assert client.connection.live
        assert client.position() == host.position
    hub.router.close()


def _join(hub: Hub, tokens: Tokens, user: str, pos: Pos | None) -> Client:
    socket = FakeSocket()
    connection = hub.accept(socket)
    token = tokens.join_token("s1", user, user, Role.PLAYER, 60)
    resume = {} if pos is None else {"resume": {SESSION: list(pos)}}
    send(connection, {"t": "join", "token": token} | resume)
    return Client(socket, connection, pos)
