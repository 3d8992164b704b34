"""Connections between simulated clients and gateways: ordered, delayed, and cut at any moment."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any

from gateway.encoded import Encoded
from gateway.ports import Peer, Socket
from tests.simulation.weather import Weather
from undying.client.transport import ConnectionLost, Transport
from undying.protocol.codec import Encoding


class _Pipe:
    """One direction: what goes in comes out in order, later."""

    def __init__(self, weather: Weather, out: Callable[[Any], None], context: Context) -> None:
        self._weather = weather
        self._out = out
        self._context = context
        self._queue: deque[Any] = deque()
        self._last_s = 0.0
        self.cut = False

    def put(self, item: Any) -> None:
        loop = asyncio.get_running_loop()
        self._last_s = max(self._last_s, loop.time() + self._weather.delay_s())
        self._queue.append(item)
        loop.call_at(self._last_s, self._deliver, context=self._context)

    def _deliver(self) -> None:
        item = self._queue.popleft()
        if not self.cut:
            self._out(item)


class Wire:
    """One connection. The server's end implements `Socket`, the client's end `Transport`."""

    def __init__(self, weather: Weather, encoding: Encoding, accept: Callable[[Socket], Peer], context: Context) -> None:
        self.encoding: Encoding = encoding
        self.address = "10.0.0.1"
        self.buffered = 0
        self.ended = False
        self._paused = False
        self._unheard: deque[bytes | None] = deque()
        self._server_context = context
        self._inbox: asyncio.Queue[bytes | ConnectionLost] = asyncio.Queue()
        self._to_client = _Pipe(weather, self._inbox.put_nowait, copy_context())
        self._to_server = _Pipe(weather, self._server_hears, context)
        self._peer: Peer | None = None
        asyncio.get_running_loop().call_soon(self._open, accept, context=context)

    def _open(self, accept: Callable[[Socket], Peer]) -> None:
        if not self.ended:
            self._peer = accept(self)

    def _server_hears(self, data: bytes | None) -> None:
        if self._paused or self._unheard:
            self._unheard.append(data)
        else:
            self._hear(data)

    def _hear(self, data: bytes | None) -> None:
        if self._peer is None:
            return
        if data is None:
            self._peer.lost()
        else:
            self._peer.receive(data if self.encoding == "msgpack" else data.decode())

    # the server's end

    def send(self, out: Encoded) -> None:
        """Send to the client."""
        if not self.ended:
            self._to_client.put(out.payload)

    def close(self, code: int, reason: str) -> None:
        """Close in order: what was sent before arrives first."""
        self._lose(ConnectionLost(code, reason))

    def pause(self) -> None:
        """Let what the client says wait, its end too."""
        self._paused = True

    def resume(self) -> None:
        """Hear what waited, in its order, until the next pause."""
        self._paused = False
        asyncio.get_running_loop().call_soon(self._hear_on, context=self._server_context)

    def _hear_on(self) -> None:
        while self._unheard and not self._paused:
            self._hear(self._unheard.popleft())

    # the client's end

    def client(self) -> Transport:
        """Return the client's end."""
        return _ClientEnd(self)

    def say(self, data: bytes) -> None:
        """Send to the server."""
        if self.ended:
            raise ConnectionLost(None, "cut")
        self._to_server.put(data)

    async def hear(self) -> bytes:
        """Return the next message to the client."""
        item = await self._inbox.get()
        if isinstance(item, ConnectionLost):
            self._inbox.put_nowait(item)
            raise item
        return item

    def hang_up(self) -> None:
        """Close from the client's side."""
        self._lose(ConnectionLost(1000, "closed"))

    def _lose(self, how: ConnectionLost) -> None:
        if not self.ended:
            self.ended = True
            self._to_client.put(how)
            self._to_server.put(None)

    def cut(self) -> None:
        """Break the connection: what is under way is lost, both ends learn of it some time later."""
        if not self.ended:
            self._to_client.cut = self._to_server.cut = True
            self.ended = True
            loop = asyncio.get_running_loop()
            loop.call_later(0.01, self._inbox.put_nowait, ConnectionLost(None, "cut"))
            loop.call_later(0.02, self._server_hears, None, context=self._server_context)


class _ClientEnd:
    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def send(self, data: bytes) -> None:
        self._wire.say(data)

    async def receive(self) -> bytes | str:
        data = await self._wire.hear()
        return data if self._wire.encoding == "msgpack" else data.decode()

    async def close(self) -> None:
        self._wire.hang_up()


class Network:
    """Where gateways listen and clients dial."""

    def __init__(self, weather: Weather, rng: random.Random) -> None:
        self._weather = weather
        self._rng = rng
        self._listening: dict[str, tuple[Callable[[Socket], Peer], Context]] = {}
        self._wires: dict[str, list[Wire]] = {}

    def listen(self, process: str, accept: Callable[[Socket], Peer]) -> None:
        """Let a gateway's process take connections; its callbacks run as that process."""
        self._listening[process] = (accept, copy_context())

    def process_died(self, process: str) -> None:
        """Break everything that a dead process held."""
        self._listening.pop(process, None)
        for wire in self._wires.pop(process, []):
            wire.cut()

    def cut_one(self) -> None:
        """Break one connection."""
        wires = [wire for held in self._wires.values() for wire in held if not wire.ended]
        if wires:
            self._rng.choice(wires).cut()

    def cut_all(self) -> None:
        """Break every connection."""
        for wire in [wire for held in self._wires.values() for wire in held]:
            wire.cut()

    def dialer(self, encoding: Encoding) -> Callable[[str], Any]:
        """Return how a client with this encoding connects."""

        async def dial(_url: str) -> Transport:
            await asyncio.sleep(self._weather.delay_s())
            if not self._listening:
                raise ConnectionLost(None, "refused")
            process = self._rng.choice(list(self._listening))
            accept, context = self._listening[process]
            wire = Wire(self._weather, encoding, accept, context.copy())
            self._wires.setdefault(process, []).append(wire)
            return wire.client()

        return dial
