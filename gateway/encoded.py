"""A frame encoded once and written to many sockets.

Invariant: `frame` is the complete, unmasked WebSocket frame of `payload` (RFC 6455 §5.2: FIN set, no extension), the
same bytes for every socket that speaks the encoding. Nothing in here knows what a frame means.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from undying.protocol import codec
from undying.protocol.codec import Encoding

_TEXT_FIN = 0x81
_BINARY_FIN = 0x82


class Encoded:
    """A payload for any number of sockets of one encoding; `text` tells which opcode it travels under."""

    __slots__ = ("_frame", "payload", "text")

    def __init__(self, payload: bytes, text: bool) -> None:
        self.payload = payload
        self.text = text
        self._frame: bytes | None = None

    @property
    def frame(self) -> bytes:
        """Return the whole WebSocket frame; built at the first call."""
        frame = self._frame
        if frame is None:
            frame = self._frame = _header(len(self.payload), self.text) + self.payload
        return frame


def _header(length: int, text: bool) -> bytes:
    first = _TEXT_FIN if text else _BINARY_FIN
    if length < 126:
        return struct.pack("!BB", first, length)
    if length < 1 << 16:
        return struct.pack("!BBH", first, 126, length)
    return struct.pack("!BBQ", first, 127, length)


def encode(frame: Mapping[str, object], encoding: Encoding) -> Encoded:
    """Encode a frame. Raises UndyingError BAD_FRAME when the encoding can't carry a value of it."""
    return Encoded(codec.encode(frame, encoding), encoding == "json")
