"""The HTTP/1.1 side of a TCP connection, bounded in number, in time and in size.

uvicorn waits for a request as long as the client likes, for an answer to be read too. Here a request, its body included,
arrives within `request_s` seconds or the connection is closed; an answer that is not read to its end `write_s` seconds after it
could not be written out at once is cut off; a head that is not complete after `head_max` bytes is answered with 400; a
connection beyond `connections_max` (WebSockets counted in) is cut.

The parser is h11: the faster httptools loses the body of a request that offers an upgrade (to h2c, as some clients' default has
it) which is not taken. Nothing hot goes this way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from undying.protocol.codec import encode
from undying.protocol.errors import Code, Failure

_COMING: Final = (h11.IDLE, h11.SEND_BODY)
"""States of a client whose request is not complete; IDLE also before one begins."""


@dataclass(frozen=True, slots=True)
class HttpBounds:
    """Bounds of every HTTP connection: a count, seconds, bytes."""

    connections_max: int
    request_s: float = 10.0
    write_s: float = 30.0
    head_max: int = 32 * 1024

    def protocol_class(self) -> type[asyncio.Protocol]:
        """Return what uvicorn's `Config(http=…)` takes and calls for each connection."""
        return cast(type[asyncio.Protocol], partial(BoundedHttp, self))


class BoundedHttp(H11Protocol):
    """uvicorn's protocol with a deadline for each request and each answer, and a bound on a request's head."""

    def __init__(self, bounds: HttpBounds, config: Any, server_state: Any, app_state: Any, _loop: Any = None) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.conn = h11.Connection(h11.SERVER, bounds.head_max)
        self._bounds = bounds
        self._deadline: asyncio.TimerHandle | None = None
        self._write_deadline: asyncio.TimerHandle | None = None
        self._handed_over = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Begin to wait for a request."""
        super().connection_made(transport)
        if len(self.connections) > self._bounds.connections_max:
            transport.abort()
            return
        # With the usual marks we would not hear of the last 64 KiB: whether they are read, and when.
        transport.set_write_buffer_limits(high=0)
        self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._request_complete()
        self._written()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Begin to wait for the client to read."""
        super().pause_writing()
        self._write_deadline = self.loop.call_later(self._bounds.write_s, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop waiting: all is written."""
        self._written()
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        """Take bytes; the clock runs from a request's first one to its last one."""
        if self.conn.their_state is h11.IDLE:
            self._expect_request()
        super().data_received(data)

    def handle_events(self) -> None:
        """Look at what came, also what waited behind the request before; then at whether something is still to come."""
        super().handle_events()
        if self._handed_over or self.conn.their_state not in _COMING:
            self._request_complete()
        elif self.conn.their_state is h11.SEND_BODY or self.conn.trailing_data[0]:
            self._expect_request()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Hand the connection over; its deadlines are the WebSocket's from here."""
        self._handed_over = True
        self._written()
        self.transport.set_write_buffer_limits()
        super().handle_websocket_upgrade(event)

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP with an error object, and close."""
        body = encode(Failure(Code.BAD_FRAME, msg).to_wire(), "json")
        head = f"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        self.transport.write(head.encode() + b"connection: close\r\n\r\n" + body)
        self.transport.close()

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: an offer to speak another protocol may be left unanswered (RFC 9110, section 7.8)."""

    def _expect_request(self) -> None:
        if self._deadline is None:
            late: Callable[[], None] = self.transport.abort
            self._deadline = self.loop.call_later(self._bounds.request_s, late)

    def _written(self) -> None:
        if self._write_deadline is not None:
            self._write_deadline.cancel()
            self._write_deadline = None

    def _request_complete(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
