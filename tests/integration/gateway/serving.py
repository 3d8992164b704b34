"""A gateway on a free port with a scripted middle, and a plain HTTP client to talk to it."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from gateway.app import Api, AppSettings
from gateway.auth import AdminAuth, Grant, Tokens
from gateway.encoded import Encoded, encode
from gateway.limits import Limits
from gateway.metrics import Metrics
from gateway.ports import Socket
from gateway.program import Gateway, GatewaySettings
from gateway.sockets import SocketSettings
from undying.protocol.data import JsonObject
from undying.protocol.errors import Code, UndyingError, error
from undying.protocol.ids import Role

SECRET = b"s" * 32
ADMIN = "the-admin-token"
NOW_S = 1_700_000_000


@dataclass
class EchoPeer:
    """Says back what it hears. `on_message` may do otherwise."""

    socket: Socket
    heard: list[bytes | str] = field(default_factory=list)
    losses: int = 0
    drained: int = 0
    on_message: Callable[[EchoPeer, bytes | str], None] | None = None

    def receive(self, data: bytes | str) -> None:
        self.heard.append(data)
        if self.on_message is not None:
            self.on_message(self, data)
        elif isinstance(data, str):
            self.socket.send(Encoded(data.encode(), True))
        else:
            self.socket.send(Encoded(data, False))

    def lost(self) -> None:
        self.losses += 1

    def writable(self) -> None:
        self.drained += 1


@dataclass
class FakeTables:
    """Tables, overview and directory in one: answers as it is told; raises `failure` when it has one."""

    failure: Exception | None = None
    role: Role = Role.GM
    submitted: list[tuple[Grant, list[JsonObject]]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    readmitted: list[str] = field(default_factory=list)
    ordered: list[str] = field(default_factory=list)
    stuck: asyncio.Event | None = None
    waiting: int = 0

    async def _turn(self) -> None:
        if self.stuck is not None:
            self.waiting += 1
            await self.stuck.wait()
        if self.failure is not None:
            raise self.failure

    async def create_session(self, name: str) -> str:
        await self._turn()
        self.names.append(name)
        return "s1"

    async def add(self, session: str, name: str) -> None:
        raise NotImplementedError

    async def sessions(self) -> dict[str, str]:
        return {"s1": "A table"}

    async def list_sessions(self) -> list[JsonObject]:
        await self._turn()
        return [{"session": "s1", "state": "live"}]

    async def snapshot(self, grant: Grant) -> JsonObject:
        await self._turn()
        return {"user": grant.user}

    async def submit(self, grant: Grant, ops: list[JsonObject]) -> list[JsonObject]:
        await self._turn()
        self.submitted.append((grant, ops))
        return [{"t": "ack", "id": op["id"], "ok": True} for op in ops]

    async def role_of(self, grant: Grant) -> Role:
        await self._turn()
        return self.role

    async def status(self) -> list[JsonObject]:
        await self._turn()
        return [{"id": "gateway:1", "kind": "gateway"}]

    async def history(self, stream: str) -> list[JsonObject]:
        await self._turn()
        return [{"where": "process:a", "reason": "killed", "detail": stream, "ago_ms": 5}]

    async def endings(self, limit: int) -> JsonObject:
        await self._turn()
        return {"history": [{"id": "session:s1", "decided": "restart"}] * limit, "lost": 0}

    async def drain(self, node: str) -> JsonObject:
        await self._turn()
        return {"node": node, "hosts": 1, "gateways": 1}

    async def undrain(self, node: str) -> None:
        await self._turn()
        self.ordered.append(f"undrain {node}")

    async def restart(self) -> None:
        await self._turn()
        self.ordered.append("restart")

    async def readmit(self, stream: str) -> None:
        await self._turn()
        self.readmitted.append(stream)

    async def checkpoints(self, stream: str) -> JsonObject:
        await self._turn()
        return {"id": stream, "pos": [2, 7], "checkpoints": [{"pos": [1, 5], "at": 1, "on_line": True, "dropped": 7}]}

    async def roll_back(self, stream: str, to: list[int]) -> JsonObject:
        await self._turn()
        return {"stream": stream, "to": [*to], "dropped": 7}

    async def ready(self) -> None:
        await self._turn()

    def connections(self) -> int:
        return 0


@dataclass
class Served:
    """A running gateway and what stands behind it."""

    gateway: Gateway
    tables: FakeTables
    tokens: Tokens
    metrics: Metrics
    peers: list[EchoPeer]
    now_s: list[float]

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.gateway.port}/v1/connect"

    def token(self, role: Role = Role.GM, session: str = "s1", user: str = "gm", ttl_s: int = 60) -> str:
        return self.tokens.join_token(session, user, "Somebody", role, ttl_s)

    async def http(self, method: str, path: str, **given: Any) -> Answer:
        return await http(self.gateway.port, method, path, **given)


@asynccontextmanager
async def serving(
    sockets: SocketSettings | None = None,
    on_message: Callable[[EchoPeer, bytes | str], None] | None = None,
    app: AppSettings | None = None,
    rate: float = 0,
    burst: float = 10,
    **settings: Any,
) -> AsyncIterator[Served]:
    """Serve on a free loopback port while the context is open."""
    peers: list[EchoPeer] = []
    now_s = [float(NOW_S)]

    def accept(socket: Socket) -> EchoPeer:
        peer = EchoPeer(socket, on_message=on_message)
        peers.append(peer)
        socket.send(encode({"t": "hello"}, socket.encoding))
        return peer

    tokens, metrics, tables = Tokens(SECRET, lambda: now_s[0]), Metrics(), FakeTables()
    limits = Limits(rate, burst, lambda: now_s[0])
    api = Api(tables, tables, tables, tokens, AdminAuth(ADMIN), limits, metrics, random.Random(1), app or AppSettings())
    chosen = GatewaySettings(port=0, spread_ms=0, sockets=sockets or SocketSettings(close_s=0.3), **settings)
    gateway = Gateway(chosen, accept, api.app(), metrics, random.Random(2))
    await gateway.start()
    try:
        yield Served(gateway, tables, tokens, metrics, peers, now_s)
    finally:
        await gateway.stop()


@dataclass
class Answer:
    """An HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """Return the code of the error object that the body must be."""
        wire = self.json
        assert {"code", "severity", "category", "message", "recoverable", "retry"} <= wire.keys(), wire
        return str(wire["code"])


async def http(
    port: int,
    method: str,
    path: str,
    *,
    body: bytes | object = None,
    token: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Make one request on a connection of its own."""
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    lines = {"host": f"127.0.0.1:{port}", "connection": "close", "content-length": str(len(raw))}
    if body is not None:
        lines["content-type"] = "application/json"
    if token is not None:
        lines["authorization"] = f"Bearer {token}"
    lines.update(headers or {})
    head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items()) + "\r\n"
    return parse_answer(await exchange(port, head.encode() + raw))


async def exchange(port: int, data: bytes) -> bytes:
    """Send bytes and return all that comes until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        return await asyncio.wait_for(reader.read(-1), 10)
    finally:
        writer.close()


def parse_answer(data: bytes) -> Answer:
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Answer(int(first.split()[1]), headers, body)


async def until(condition: Callable[[], bool], limit_s: float = 5.0) -> None:
    """Wait for a condition, letting the loop work; fail when it does not come."""
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110 - the conditions are facts about sockets, which set no event
            await asyncio.sleep(0.001)


def undying_error(code: str, message: str = "told to") -> UndyingError:
    return error(Code(code), message)
