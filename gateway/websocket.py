"""One WebSocket: from uvicorn's hands straight to the peer, without a task and without ASGI.

The bytes are understood by websockets' sans-I/O `ServerProtocol`; this class moves them. A connection goes one way:

    request ─▶ open ─▶ leaving ─▶ gone

What incoming bytes are for is one attribute, `_take`, replaced at each step, and no step leads back. So after an error,
or after we said goodbye, nothing of what the client sends is looked at any more.

Bounds, and what happens at them: a message, its fragments joined, of `frame_max` bytes → 1009; more frames than anybody
needs (`gateway/inbox.py`) → 4108; a client that does not read (`gateway/outbox.py`) → 4303; `close_s` seconds for goodbye
→ the connection is cut; `connections_max` clients → 503.

An `Encoded` frame is written as it is.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any, Final, cast

import structlog
from websockets.http11 import Request
from websockets.protocol import State

from gateway.encoded import Encoded
from gateway.handshake import answer, new_protocol
from gateway.inbox import Inbox
from gateway.outbox import Outbox
from gateway.ports import PacedPeer, Peer
from gateway.sockets import Sockets
from undying.protocol.closes import Close
from undying.protocol.codec import SUBPROTOCOLS, Encoding

REASON_BYTES_MAX: Final = 123
"""RFC 6455 §5.5.1: what a close frame has room for."""

UNSENT_BYTES: Final = 64 * 1024
"""What the kernel takes beyond what is on its way, where it can be told so. It would take megabytes, and then nothing for
seconds from us while a client on a thin line reads as well as it can."""

_log = structlog.get_logger(__name__)


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
        self._siblings: set[object] = server_state.connections
        self._loop = asyncio.get_running_loop()
        # Set by `connection_made`, before any other callback, and by the handshake.
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._outbox: Outbox = cast(Outbox, None)
        self._inbox: Inbox = cast(Inbox, None)
        self._peer: Peer | None = None
        self._take: Callable[[bytes], None] = self._take_request
        self._leaving = False
        self._cut: asyncio.TimerHandle | None = None
        self._ws = new_protocol(shared.settings.frame_max, shared.settings.origins)

    # Socket

    @property
    def buffered(self) -> int:
        """Return the bytes that the kernel has not taken yet."""
        return self._outbox.buffered

    def send(self, out: Encoded) -> None:
        """Write a frame at the end of this turn of the loop."""
        if self._leaving:
            return
        self._metrics.frames_out += 1
        self._outbox.put(out.frame)

    def pause(self) -> None:
        """Take nothing more from the client until `resume`; what it sends meanwhile waits with its kernel and ours."""
        self._inbox.pause()

    def resume(self) -> None:
        """Go on with what the client sent, from the next turn of the loop on."""
        self._inbox.resume()

    def close(self, code: int, reason: str) -> None:
        """Say goodbye after what was sent before, wait for the answer `close_s` seconds, then cut."""
        if self._leaving:
            return
        if self._ws.state is not State.OPEN:  # the client said goodbye, or broke the rules, in the bytes just taken
            self._ended_by_client()
            return
        self._ws.send_close(code, reason.encode()[:REASON_BYTES_MAX].decode(errors="ignore"))
        self._leave(goodbye=True)

    # asyncio.Protocol, and what uvicorn calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; the request that asks for the upgrade comes next."""
        self._transport = cast(asyncio.Transport, transport)
        self._outbox = Outbox(self._transport, self._settings, self._metrics, self._too_slow)
        self._siblings.add(self)
        peername = transport.get_extra_info("peername")
        self.address = str(peername[0]) if isinstance(peername, tuple) else "local"
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if hasattr(socket, "TCP_NOTSENT_LOWAT"):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)

    def data_received(self, data: bytes) -> None:
        """Take bytes for what they are good for now."""
        try:
            self._take(data)
        except Exception:  # noqa: BLE001 - a socket's edge: a defect behind it ends this connection and no other
            _log.exception("connection failed", address=self.address)
            self.close(Close.INTERNAL, "internal error")

    def eof_received(self) -> bool:
        """Let the transport close, but don't let a client that reads nothing keep it."""
        self._leave(goodbye=False)
        return False

    def resume_writing(self) -> None:
        """Pass on that there is room again."""
        if not self._leaving and isinstance(self._peer, PacedPeer):
            self.guarded(self._peer.writable)

    def connection_lost(self, exc: Exception | None) -> None:
        """End: the last callback."""
        self._siblings.discard(self)
        self._outbox.drop()
        self._stop_taking(goodbye=False)
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
        self._put_written()
        self._open()

    # Opening

    def _open(self) -> None:
        subprotocol = self._ws.subprotocol
        self.encoding = SUBPROTOCOLS[subprotocol] if subprotocol is not None else "json"
        inbox = Inbox(self._ws, self._transport, self.encoding, self._settings, self._metrics, self)
        self._inbox, self._take = inbox, inbox.feed
        self._shared.add(self)
        self._peer = self._shared.accept(self)
        inbox.receive = self._peer.receive

    # What inbox and outbox need

    def answer(self) -> None:
        """Write what the library has to say: pongs, or the last word after a close or an error."""
        if self._ws.eof_sent:
            self._ended_by_client()
        else:
            self._put_written()

    def goodbye(self) -> None:
        """End at once: the client said goodbye too, or talks nonsense, and there is nothing to wait for."""
        self._stop_taking(goodbye=False)
        self._transport.close()

    def guarded(self, call: Callable[[], None]) -> None:
        """Call, and let a defect end this connection and no other."""
        try:
            call()
        except Exception:  # noqa: BLE001 - a socket's edge: the loop has nobody else to tell
            _log.exception("connection failed", address=self.address)
            self.close(Close.INTERNAL, "internal error")

    def _too_slow(self) -> None:
        self.close(Close.TOO_SLOW, "the client reads slower than the table plays")

    def _put_written(self) -> None:
        # An empty item stands for the end of the stream; leaving takes care of that.
        data = b"".join(self._ws.data_to_send())
        if data:
            self._outbox.put(data)

    # Leaving

    def _ended_by_client(self) -> None:
        """End after the client's close frame or a breach of RFC 6455: the library's answer is written, then the end."""
        if self._ws.parser_exc is None:
            self._finish()
            return
        # After an error bytes of the client may be under way; closing on them would reset the connection and with
        # it, maybe, the close frame that says why. So the client closes, or the timer cuts.
        self._leave(goodbye=False)
        if self._transport.can_write_eof() and not self._transport.is_closing():
            self._transport.write_eof()

    def _finish(self) -> None:
        self._leave(goodbye=False)
        self._transport.close()

    def _leave(self, *, goodbye: bool) -> None:
        """Write the last bytes, take nothing more but the client's goodbye, and cut in `close_s` seconds at the latest."""
        if self._leaving:
            return
        self._stop_taking(goodbye=goodbye)
        self._put_written()
        self._outbox.finish()
        self._cut = self._loop.call_later(self._settings.close_s, self._transport.abort)
        # Later, because the caller may be a hub that is sending to all its sockets.
        self._loop.call_soon(self._tell_lost)

    def _stop_taking(self, *, goodbye: bool) -> None:
        self._leaving = True
        if not goodbye:
            self._take = _take_nothing
        if self._inbox is not None:
            self._inbox.end(goodbye=goodbye)

    def _tell_lost(self) -> None:
        peer, self._peer = self._peer, None
        self._shared.remove(self)
        if peer is not None:
            self.guarded(peer.lost)


def _take_nothing(_data: bytes) -> None:
    """Bytes after the end are for nobody."""


def websocket_class(shared: Sockets) -> type[asyncio.Protocol]:
    """Return what uvicorn's `Config(ws=…)` takes and calls for each upgrade."""
    return cast(type[asyncio.Protocol], partial(WebSocket, shared))
