"""Just enough WebSocket for a load generator that must not be what is measured.

Client frames are complete, masked bytes, made before the clock runs. They are masked with a key of zeros: legal on the
wire and as much work for the server as any other key, and their maker can patch nothing but prepares everything.
Incoming frames are cut out of the stream without a copy of what is not theirs. Only what our server sends is understood:
unfragmented, unmasked frames (RFC 6455 §5.2); anything else raises `BadFrame`.
"""

from __future__ import annotations

import base64
import hashlib
import os
import struct
from typing import Final

SUBPROTOCOL: Final = "undying.v1.msgpack"

_BINARY: Final = 0x82
_CLOSE: Final = 0x88
_ZERO_KEY: Final = b"\0\0\0\0"
_MAGIC: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class BadFrame(Exception):
    """The server sent what this client does not understand."""


def masked(payload: bytes) -> bytes:
    """Return the whole binary client frame of a payload of less than 64 KiB."""
    size = len(payload)
    head = struct.pack("!BB", _BINARY, 0x80 | size) if size < 126 else struct.pack("!BBH", _BINARY, 0x80 | 126, size)
    return head + _ZERO_KEY + payload


class Upgrade:
    """One opening handshake: the request, and the check of the response."""

    def __init__(self, authority: str) -> None:
        key = base64.b64encode(os.urandom(16))
        self._accept = base64.b64encode(hashlib.sha1(key + _MAGIC).digest())
        self.request = (
            f"GET /v1/connect HTTP/1.1\r\nHost: {authority}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: {SUBPROTOCOL}\r\nSec-WebSocket-Key: {key.decode()}\r\n\r\n"
        ).encode()

    def check(self, response: bytes) -> None:
        """Make sure that the server took the request for what it was. Raises BadFrame when it did not."""
        lines = response.lower().split(b"\r\n")
        fits = b"sec-websocket-accept: " + self._accept.lower() in lines
        if not (response.startswith(b"HTTP/1.1 101 ") and fits):
            raise BadFrame(f"the server refused the upgrade: {response[:200]!r}")


class Cutter:
    """Cuts a stream of bytes into the payloads of binary frames. `close_code` is set when the server said goodbye."""

    __slots__ = ("_rest", "close_code")

    def __init__(self) -> None:
        self._rest = b""
        self.close_code: int | None = None

    def cut(self, data: bytes) -> list[bytes]:
        """Return the payloads that are complete now. Raises BadFrame."""
        if self._rest:
            data = self._rest + data
        out: list[bytes] = []
        at, end = 0, len(data)
        while end - at >= 2:
            size, start = data[at + 1], at + 2
            if size >= 126:
                start += 2 if size == 126 else 8
                if start > end:
                    break
                size = int.from_bytes(data[at + 2 : start], "big")
            if start + size > end:
                break
            first = data[at]
            if first == _BINARY:
                out.append(data[start : start + size])
            elif first == _CLOSE:
                self.close_code = int.from_bytes(data[start : start + 2], "big")
            else:
                raise BadFrame(f"a frame that begins with {first:#x}")
            at = start + size
        self._rest = data[at:]
        return out
