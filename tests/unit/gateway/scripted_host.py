"""A hub whose one host does as the test tells it, and sockets that remember what they were given."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgpack

from gateway.auth import Tokens
from gateway.connection import Connection
from gateway.encoded import Encoded
from gateway.hub import Hub, HubSettings
from gateway.limits import Limits
from gateway.metrics import Metrics
from undying.protocol.codec import Encoding
from undying.protocol.data import JsonObject
from undying.protocol.effects import Effect, pack_effects
from undying.protocol.errors import Code, Failure
from undying.protocol.ids import Role
from undying.protocol.link import (
    Acked,
    Batch,
    JoinItem,
    Opened,
    OpenItem,
    OpItem,
    Subscribed,
    SubscribeItem,
    ToGateway,
    ToHost,
    pack_messages,
    unpack_items,
)

SESSION = "session:s1"
SPARE = "character:c1"
NOW_S = 1_700_000_000


@dataclass
class FakeSocket:
    """What a connection gave to its client: decoded messages, and the code that it was closed with."""

    encoding: Encoding = "msgpack"
    address: str = "10.0.0.1"
    buffered: int = 0
    got: list[dict[str, Any]] = field(default_factory=list)
    closed: int | None = None
    paused: bool = False

    def send(self, out: Encoded) -> None:
        if self.closed is None:
            self.got.append(msgpack.unpackb(out.payload))

    def close(self, code: int, reason: str) -> None:
        self.closed = code

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Return the messages of one kind."""
        return [message for message in self.got if message["t"] == kind]


@dataclass
class ScriptedHost:
    """Holds what it is asked until the test answers. Subscriptions it answers by itself, at position (1, 0)."""

    name: str = "host"
    asked: asyncio.Queue[ToHost] = field(default_factory=asyncio.Queue)
    out: list[ToGateway] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    number: int = 0

    async def submit(self, gateway: str, call: int, payload: bytes) -> tuple[int, bytes]:
        for item in unpack_items(payload):
            if isinstance(item, SubscribeItem):
                self.out.append(Subscribed("subd", item.ref, item.stream, True, (1, 0), []))
            else:
                self.asked.put_nowait(item)
        return self._take()

    def close(self) -> None:
        return None

    async def poll(self, gateway: str) -> tuple[int, bytes]:
        await self.news.wait()
        self.news.clear()
        return self._take()

    def _take(self) -> tuple[int, bytes]:
        self.number += 1
        out, self.out = self.out, []
        return self.number, pack_messages(out)

    async def tell(self, *messages: ToGateway) -> None:
        """Send messages to the gateway and let it act on them."""
        self.out.extend(messages)
        self.news.set()
        for _ in range(20):
            await asyncio.sleep(0)

    async def asked_for(self, kind: type[ToHost]) -> Any:
        """Return the next item of a kind."""
        async with asyncio.timeout(5):
            while not isinstance(item := await self.asked.get(), kind):
                pass
        return item

    async def let_in(self, role: Role, streams: list[str] | None = None) -> None:
        """Answer the next join."""
        item: JoinItem = await self.asked_for(JoinItem)
        result: JsonObject = {"role": role.value, "name": item.name, "streams": list(streams or [SESSION])}
        await self.tell(Acked("ack", item.ref, (1, 0), result, None, False))

    async def show(self, pos: tuple[int, int] = (1, 0)) -> OpenItem:
        """Answer the next opening with a snapshot, which says whose eyes it is for. Returns what was asked."""
        item: OpenItem = await self.asked_for(OpenItem)
        state = msgpack.packb({"for": item.role})
        await self.tell(Opened("opened", item.ref, item.stream, "snapshot", pos, state, [], ""))
        return item

    async def accept(self, result: dict[str, Any] | None = None) -> OpItem:
        """Answer the next op with yes."""
        item: OpItem = await self.asked_for(OpItem)
        await self.tell(Acked("ack", item.ref, (1, 1), result, None, False))
        return item

    async def refuse(self, code: Code) -> OpItem:
        """Answer the next op with no."""
        item: OpItem = await self.asked_for(OpItem)
        await self.tell(Acked("ack", item.ref, (-1, -1), None, Failure(code, "no").to_wire(), False))
        return item


@dataclass
class Locator:
    """Everything lives in the one host."""

    host: ScriptedHost

    async def locate(self, stream: str, *, create: bool, avoid: str) -> ScriptedHost:
        return self.host


@dataclass
class Gateway:
    """A hub over a scripted host."""

    host: ScriptedHost
    hub: Hub
    tokens: Tokens

    def connect(self) -> tuple[FakeSocket, Connection]:
        """Open a socket."""
        socket = FakeSocket()
        return socket, self.hub.accept(socket)

    def ask_to_join(self, role: Role = Role.PLAYER) -> tuple[FakeSocket, Connection]:
        """Open a socket and send a join for the user `ada`."""
        socket, connection = self.connect()
        send(connection, {"t": "join", "token": self.tokens.join_token("s1", "ada", "Ada", role, 60)})
        return socket, connection

    async def seat(self, role: Role = Role.PLAYER, streams: list[str] | None = None) -> tuple[FakeSocket, Connection]:
        """Open a socket and join until everything is live."""
        socket, connection = self.ask_to_join(role)
        await self.host.let_in(role, streams)
        for _ in streams or [SESSION]:
            await self.host.show()
        assert connection.live
        return socket, connection


@dataclass
class Clock:
    """The gateway's clock in seconds, for the test to set."""

    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s


def make_gateway(clock: Callable[[], float] | None = None, **settings: Any) -> Gateway:
    """Make a hub; `settings` are those of `HubSettings`, `clock` stands in for the loop's."""
    host = ScriptedHost()
    tokens = Tokens(b"s" * 32, lambda: NOW_S)
    hub = Hub("g", Locator(host), tokens, HubSettings(**settings), Metrics(), random.Random(1), lambda: NOW_S * 1000)
    if clock is not None:
        hub.now_s = clock
        hub.limits = Limits(hub.settings.rate_per_s, max(1, hub.settings.rate_burst), clock)
    return Gateway(host, hub, tokens)


def send(connection: Connection, message: object) -> None:
    """Let a connection hear a message."""
    connection.receive(msgpack.packb(message))


def batch(seq: int, *events: dict[str, Any], effects: list[Effect] | None = None) -> Batch:
    """Make a batch of the session's events from `seq` on; an event with `for` is for that audience only."""
    body = []
    for at, event in enumerate(events):
        entry: dict[str, Any] = {"n": seq + at, "k": event["k"], "by": "mia", "at": 0}
        entry |= {"v": [[event["for"], {"it": event["k"]}]]} if "for" in event else {"d": {"it": event["k"]}}
        body.append(entry)
    public = not any("for" in event for event in events)
    return Batch("ev", SESSION, 1, seq, seq + len(events) - 1, public, msgpack.packb(body), pack_effects(effects or []))
