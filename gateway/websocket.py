"""One WebSocket: from uvicorn's hands straight to the peer, without a task and without ASGI.

The bytes are understood by websockets' sans-I/O `ServerProtocol`; this class moves them. A connection goes one way:

    request ─▶ open ─▶ leaving ─▶ gone

What incoming bytes are for is one attribute, `_take`, replaced at each step, and no step leads back. So after an error,
or after we said goodbye, nothing of what the client sends is looked at any more.

Bounds, and what happens at them: a message, its fragments joined, of `frame_max` bytes → 1009; `outbox_max` bytes that
the client did not read → 4303; `close_s` seconds for goodbye → the connection is cut; `connections_max` clients → 503.

Sends of one loop turn leave in one write. An `Encoded` frame is written as it is.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from functools import partial
from http import HTTPStatus
from typing import Any, Final, cast

import structlog
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State

from gateway.encoded import Encoded
from gateway.handshake import answer, new_protocol
from gateway.ports import PacedPeer, Peer
from gateway.sockets import Sockets
from undying.protocol.closes import Close
from undying.protocol.codec import SUBPROTOCOLS, Encoding

REASON_BYTES_MAX: Final = 123
"""RFC 6455 §5.5.1: what a close frame has room for."""

_log = structlog.get_logger(__name__)
_TEXT, _BINARY, _CONT = Opcode.TEXT, Opcode.BINARY, Opcode.CONT


class WebSocket(asyncio.Protocol):
    """One client. Implements `gateway.ports.Socket`; made by uvicorn with keyword arguments."""

    def __init__(
        self, shared: Sockets, *, server_state: Any, config: Any = None, app_state: Any = None, _loop: Any = None
    ) -> None:
        self.encoding: Encoding = "json"
        self.address = ""
        self._shared = shared
        self._metrics = shared.metrics
        self._settings = shared.settings
        self._outbox_max = shared.settings.outbox_max
        self._siblings: set[object] = server_state.connections
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)  # set before any other callback
        self._peer: Peer | None = None
        self._take: Callable[[bytes], None] = self._take_request
        self._opcode = _TEXT
        self._partial: bytearray | None = None
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._leaving = False
        self._cut: asyncio.TimerHandle | None = None
        self._ws = new_protocol(shared.settings.frame_max, shared.settings.origins)

    # Socket

    @property
    def buffered(self) -> int:
        """Return the bytes that the kernel has not taken yet."""
        return self._pending_bytes + self._transport.get_write_buffer_size()

    def send(self, out: Encoded) -> None:
        """Write a frame at the end of this turn of the loop."""
        if self._leaving:
            return
        self._metrics.frames_out += 1
        self._queue(out.frame)

    def close(self, code: int, reason: str) -> None:
        """Say goodbye after what was sent before, wait for the answer `close_s` seconds, then cut."""
        if self._leaving:
            return
        if self._ws.state is not State.OPEN:  # the client said goodbye, or broke the rules, in the bytes just taken
            self._ended_by_client()
            return
        self._ws.send_close(code, reason.encode()[:REASON_BYTES_MAX].decode(errors="ignore"))
        self._leave(self._take_goodbye)

    # asyncio.Protocol, and what uvicorn calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; the request that asks for the upgrade comes next."""
        self._transport = cast(asyncio.Transport, transport)
        self._siblings.add(self)
        peername = transport.get_extra_info("peername")
        self.address = str(peername[0]) if isinstance(peername, tuple) else "local"
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        """Take bytes for what they are good for now."""
        try:
            self._take(data)
        except Exception:  # noqa: BLE001 - a socket's edge: a defect behind it ends this connection and no other
            _log.exception("connection failed", address=self.address)
            self.close(Close.INTERNAL, "internal error")

    def eof_received(self) -> bool:
        """Let the transport close, but don't let a client that reads nothing keep it."""
        self._leave(_take_nothing)
        return False

    def resume_writing(self) -> None:
        """Pass on that there is room again."""
        if not self._leaving and isinstance(self._peer, PacedPeer):
            self._guarded(self._peer.writable)

    def connection_lost(self, exc: Exception | None) -> None:
        """End: the last callback."""
        self._siblings.discard(self)
        self._pending.clear()
        self._pending_bytes = 0
        self._leaving = True
        self._take = _take_nothing
        if self._cut is not None:
            self._cut.cancel()
        self._tell_lost()

    def shutdown(self) -> None:
        """End because the server ends (uvicorn calls this)."""
        if self._ws.state is State.CONNECTING:
            self._finish()
        else:
            self.close(Close.DRAINING, "the server goes down")

    # What incoming bytes are for

    def _take_request(self, data: bytes) -> None:
        self._ws.receive_data(data)
        events = self._ws.events_received()
        if not events:
            if self._ws.handshake_exc is not None:  # the library has already written its refusal
                self._finish()
            return
        request = cast(Request, events[0])
        response = answer(self._ws, request, self._shared.unwelcome())
        self._ws.send_response(response)
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            self._metrics.connections_refused += 1
            self._finish()
            return
        self._queue_written()
        self._take = self._take_frames
        self._open()

    def _take_frames(self, data: bytes) -> None:
        ws = self._ws
        ws.receive_data(data)
        self._frames(ws.events_received())
        if self._leaving:
            return
        if ws.writes:  # pongs, or the last word after a close or an error
            if ws.eof_sent:
                self._ended_by_client()
            else:
                self._queue_written()

    def _take_goodbye(self, data: bytes) -> None:
        ws = self._ws
        ws.receive_data(data)
        ws.events_received()
        ws.data_to_send()
        if ws.eof_sent:  # it answered, or talks nonsense: either way there is nothing to wait for
            self._take = _take_nothing
            self._transport.close()

    # Opening

    def _open(self) -> None:
        subprotocol = self._ws.subprotocol
        self.encoding = SUBPROTOCOLS[subprotocol] if subprotocol is not None else "json"
        self._opcode = _TEXT if self.encoding == "json" else _BINARY
        self._shared.add(self)
        self._peer = self._shared.accept(self)

    # Open

    def _frames(self, events: Sequence[object]) -> None:
        for event in events:
            if self._leaving:
                return
            frame = cast(Frame, event)
            opcode = frame.opcode
            if opcode is self._opcode:
                if frame.fin:
                    self._message(cast(bytes, frame.data))
                else:
                    self._partial = bytearray(frame.data)
            elif opcode is _CONT:
                # The library bounds the sum of fragments by frame_max and refuses one that continues nothing.
                whole = cast(bytearray, self._partial)
                whole += frame.data
                if frame.fin:
                    self._partial = None
                    self._message(bytes(whole))
            elif opcode is _TEXT or opcode is _BINARY:
                wanted = "text" if self.encoding == "json" else "binary"
                self.close(Close.PROTOCOL_ERROR, f"this subprotocol has {wanted} frames")

    def _message(self, data: bytes) -> None:
        metrics = self._metrics
        metrics.frames_in += 1
        metrics.bytes_in += len(data)
        peer = cast(Peer, self._peer)
        if self._opcode is _BINARY:
            peer.receive(data)
            return
        try:
            text = str(data, "utf-8")
        except UnicodeDecodeError:
            self.close(Close.INVALID_DATA, "text is UTF-8")
            return
        peer.receive(text)

    # Writing

    def _queue(self, data: bytes) -> None:
        pending = self._pending
        if not pending:
            self._loop.call_soon(self._flush)
        pending.append(data)
        self._pending_bytes += len(data)
        if self._pending_bytes > self._outbox_max:
            self._flush()

    def _queue_written(self) -> None:
        # An empty item stands for the end of the stream; leaving takes care of that.
        data = b"".join(self._ws.data_to_send())
        if data:
            self._queue(data)

    def _flush(self) -> None:
        """Give what is pending to the kernel, unless it still has not taken what it got before."""
        pending = self._pending
        if not pending:
            return
        if self._transport.is_closing():
            pending.clear()
            self._pending_bytes = 0
            return
        # Counted before the write: one large message to a client that reads is no sign of slowness.
        if not self._leaving and self._transport.get_write_buffer_size() > self._outbox_max:
            self._metrics.too_slow += 1
            pending.clear()
            self._pending_bytes = 0
            self.close(Close.TOO_SLOW, "the client reads slower than the table plays")
            return
        self._metrics.bytes_out += self._pending_bytes
        data = pending[0] if len(pending) == 1 else b"".join(pending)
        pending.clear()
        self._pending_bytes = 0
        self._transport.write(data)

    # Leaving

    def _ended_by_client(self) -> None:
        """End after the client's close frame or a breach of RFC 6455: the library's answer is written, then the end."""
        if self._ws.parser_exc is None:
            self._finish()
            return
        # After an error bytes of the client may be under way; closing on them would reset the connection and with
        # it, maybe, the close frame that says why. So the client closes, or the timer cuts.
        self._leave(_take_nothing)
        if self._transport.can_write_eof() and not self._transport.is_closing():
            self._transport.write_eof()

    def _finish(self) -> None:
        self._leave(_take_nothing)
        self._transport.close()

    def _leave(self, then: Callable[[bytes], None]) -> None:
        """Write the last bytes, take nothing more as a message, and cut in `close_s` seconds at the latest."""
        if self._leaving:
            return
        self._leaving = True
        self._take = then
        self._partial = None
        self._queue_written()
        self._flush()
        self._cut = self._loop.call_later(self._settings.close_s, self._transport.abort)
        # Later, because the caller may be a hub that is sending to all its sockets.
        self._loop.call_soon(self._tell_lost)

    def _tell_lost(self) -> None:
        peer, self._peer = self._peer, None
        self._shared.remove(self)
        if peer is not None:
            self._guarded(peer.lost)

    def _guarded(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception:  # noqa: BLE001 - a socket's edge: the loop has nobody else to tell
            _log.exception("connection failed", address=self.address)
            self.close(Close.INTERNAL, "internal error")


def _take_nothing(_data: bytes) -> None:
    """Bytes after the end are for nobody."""


def websocket_class(shared: Sockets) -> type[asyncio.Protocol]:
    """Return what uvicorn's `Config(ws=…)` takes and calls for each upgrade."""
    return cast(type[asyncio.Protocol], partial(WebSocket, shared))
