"""One connection of a client: a task that opens a transport, reads it and writes it, until one of them ends.

It tells what happens through its `Heard` port and holds no opinion. Once `shut`, it tells nothing more: what is queued is
still written, for at most `DRAIN_S`, and the transport is closed.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from undying.client.transport import ConnectionLost, Dial, Transport
from undying.protocol.codec import Encoding, decode, encode
from undying.protocol.data import JsonObject
from undying.protocol.errors import UndyingError

DRAIN_S: Final = 1.0
"""How long writing out what is queued may take once the connection is not wanted any more."""
SIGNALS_MAX: Final = 64
"""Frames in the queue beyond which signals, which may be lost, are."""


class Heard(Protocol):
    """Who is told."""

    def connected(self, connection: Connection) -> None:
        """Hear that the transport is open."""
        ...

    def received(self, connection: Connection, frame: JsonObject) -> None:
        """Hear a frame."""
        ...

    def disconnected(self, connection: Connection, code: int | None, reason: str) -> None:
        """Hear that the transport ended by itself. Nothing follows."""
        ...


class Connection:
    """See the module. Made inside a running loop; starts at once."""

    def __init__(self, url: str, dial: Dial, encoding: Encoding, heard: Heard) -> None:
        self._heard = heard
        self._encoding: Encoding = encoding
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._open = True
        self.task = asyncio.create_task(self._live(url, dial), name="undying connection")

    def send(self, frame: JsonObject) -> None:
        """Queue a frame. The machine bounds what is sent: unanswered ops, heartbeats, and signals, which are dropped here."""
        if frame["t"] == "eph" and self._queue.qsize() >= SIGNALS_MAX:
            return
        self._queue.put_nowait(encode(frame, self._encoding))

    def shut(self) -> None:
        """End it: write out what is queued, close, tell nothing more."""
        if self._open:
            self._open = False
            # Called from within `received` the task sees the flag; cancelled there, it could not close in order.
            if asyncio.current_task() is not self.task:
                self.task.cancel()

    async def _live(self, url: str, dial: Dial) -> None:
        try:
            transport = await dial(url)
        except ConnectionLost as lost:
            self._tell_lost(lost.code, lost.reason)
            return
        writer = asyncio.create_task(self._write(transport), name="undying writer")
        try:
            self._heard.connected(self)
            while self._open:
                self._read(await transport.receive())
        except ConnectionLost as lost:
            self._tell_lost(lost.code, lost.reason)
        finally:
            await self._finish(transport, writer)

    def _read(self, data: bytes | str) -> None:
        try:
            frame = decode(data, self._encoding)
        except UndyingError as bad:
            self._tell_lost(None, bad.failure.message)
        else:
            self._heard.received(self, frame)

    def _tell_lost(self, code: int | None, reason: str) -> None:
        if self._open:
            self._open = False
            self._heard.disconnected(self, code, reason)

    async def _write(self, transport: Transport) -> None:
        try:
            while (data := await self._queue.get()) is not None:
                await transport.send(data)
        except ConnectionLost:
            return  # the reader hears of it too, and with the close code

    async def _finish(self, transport: Transport, writer: asyncio.Task[None]) -> None:
        self._queue.put_nowait(None)
        try:
            async with asyncio.timeout(DRAIN_S):
                await writer
        except TimeoutError:
            pass  # the other side does not read; nothing of it is lost that will not be sent again
        finally:
            await transport.close()
