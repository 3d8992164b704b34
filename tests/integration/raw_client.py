"""A WebSocket client that sends whatever it is told to, right or wrong: bytes, frames, messages.

It reads the server's frames by RFC 6455's layout alone and shares no code with the server but the codec's libraries.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import struct
from dataclasses import dataclass, field
from typing import Any, Literal, Self
from urllib.parse import urlsplit

import msgpack

Encoding = Literal["msgpack", "json"]
Message = dict[str, Any]

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
WAIT_S = 15.0


class Closed(Exception):
    """The server ended the connection: with a close code, or (None) without a word."""

    def __init__(self, code: int | None, reason: str = "") -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


def frame(opcode: int, payload: bytes, *, fin: bool = True, mask: bool = True, reserved: int = 0) -> bytes:
    """Return the bytes of a WebSocket frame, right or wrong."""
    first = (0x80 if fin else 0) | reserved << 4 | opcode
    flag = 0x80 if mask else 0
    if len(payload) < 126:
        head = struct.pack("!BB", first, flag | len(payload))
    elif len(payload) < 1 << 16:
        head = struct.pack("!BBH", first, flag | 126, len(payload))
    else:
        head = struct.pack("!BBQ", first, flag | 127, len(payload))
    return head + (bytes(4) + payload if mask else payload)


def pack(message: object, encoding: Encoding) -> bytes:
    """Encode a message as leniently as the libraries do: NaN, lone surrogates and the like go through."""
    if encoding == "json":
        return json.dumps(message).encode()
    packed: bytes = msgpack.packb(message, unicode_errors="surrogatepass")
    return packed


@dataclass
class RawClient:
    """One connection. `name` is unlike any other's; `heard` holds every message that came, also those nobody waited for."""

    encoding: Encoding
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    heard: list[Message] = field(default_factory=list)
    joined: Message = field(default_factory=dict)
    name: str = field(default_factory=lambda: os.urandom(8).hex())

    @classmethod
    async def connect(cls, url: str, encoding: Encoding = "json") -> Self:
        """Open a WebSocket and take the hello."""
        parts = urlsplit(url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=64 << 20)
        key = base64.b64encode(os.urandom(16)).decode()
        writer.write(
            f"GET /v1/connect HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Protocol: undying.v1.{encoding}\r\n\r\n".encode()
        )
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), WAIT_S)
        assert head.startswith(b"HTTP/1.1 101"), head
        client = cls(encoding, reader, writer)
        await client.until("hello")
        return client

    async def join(self, token: str, **more: object) -> Message:
        """Join and wait until every stream is live. Returns the welcome."""
        await self.say({"t": "join", "token": token, **more})
        self.joined = await self.until("welcome")
        for _ in self.joined["streams"]:
            await self.until("live")
        return self.joined

    async def raw(self, data: bytes) -> None:
        """Send bytes."""
        self.writer.write(data)
        try:
            await self.writer.drain()
        except ConnectionError:
            return  # the server may have ended the connection already; what it said is still to be read

    async def payload(self, data: bytes) -> None:
        """Send a message of these bytes."""
        await self.raw(frame(TEXT if self.encoding == "json" else BINARY, data))

    async def say(self, message: object) -> None:
        """Send a message."""
        await self.payload(pack(message, self.encoding))

    async def op(self, op_id: object, stream: object, kind: object, args: object = None, **more: object) -> Message:
        """Send an op and return its ack."""
        await self.say({"t": "op", "id": op_id, "s": stream, "k": kind, "d": {} if args is None else args, **more})
        return await self.until("ack", id=op_id)

    async def beat(self) -> dict[str, Any]:
        """Send a heartbeat and return the positions that the server answers with."""
        await self.say({"t": "hb"})
        positions: dict[str, Any] = (await self.until("hb_ok"))["pos"]
        return positions

    async def until(self, kind: str, wait_s: float = WAIT_S, **facts: object) -> Message:
        """Return the next message of a kind with these facts. Raises Closed, and TimeoutError after `wait_s` seconds."""
        async with asyncio.timeout(wait_s):
            while True:
                message = await self.receive()
                if message["t"] == kind and all(message.get(key) == value for key, value in facts.items()):
                    return message

    async def ended(self, wait_s: float = WAIT_S) -> Closed:
        """Return how the server ends the connection. Raises TimeoutError when it does not."""
        try:
            async with asyncio.timeout(wait_s):
                while True:
                    await self.receive()
        except Closed as closed:
            return closed

    async def receive(self) -> Message:
        """Return the next message. Raises Closed."""
        try:
            while True:
                opcode, payload = await self._frame()
                if opcode == CLOSE:
                    code = struct.unpack("!H", payload[:2])[0] if payload else 1005
                    raise Closed(code, payload[2:].decode())
                if opcode in (TEXT, BINARY):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            raise Closed(None) from None
        message: Message = json.loads(payload) if opcode == TEXT else msgpack.unpackb(payload)
        self.heard.append(message)
        return message

    async def _frame(self) -> tuple[int, bytes]:
        first, second = await self.reader.readexactly(2)
        length = second & 0x7F
        if length == 126:
            (length,) = struct.unpack("!H", await self.reader.readexactly(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", await self.reader.readexactly(8))
        return first & 0x0F, await self.reader.readexactly(length)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.transport.abort()
