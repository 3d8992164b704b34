"""What waits to be written to one client, and when that client counts as too slow.

What is put in one turn of the loop leaves in one write. What the kernel does not take then waits in the transport. A
client is too slow not because much waits for it (a snapshot may be large, a line thin) but because it makes no headway:
over `outbox_max` bytes and in `stall_s` seconds the kernel took none of them. `outbox_cap` bytes are too many at once,
headway or not. So a client that reads is let be, one that does not is ended within twice `stall_s`, and memory is bounded
by `outbox_cap` and what one turn adds.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from gateway.metrics import Metrics
from gateway.sockets import SocketSettings


class Outbox:
    """See the module. `too_slow` is called when the client is, then what waits here is gone; it is to end the connection."""

    __slots__ = (
        "_bytes",
        "_cap",
        "_loop",
        "_max",
        "_metrics",
        "_pending",
        "_stall_s",
        "_too_slow",
        "_transport",
        "_unread",
        "_watch",
    )

    def __init__(
        self, transport: asyncio.Transport, settings: SocketSettings, metrics: Metrics, too_slow: Callable[[], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._metrics = metrics
        self._too_slow = too_slow
        self._max: float = settings.outbox_max
        self._cap = settings.outbox_cap
        self._stall_s = settings.stall_s
        self._pending: list[bytes] = []
        self._bytes = 0
        self._watch: asyncio.TimerHandle | None = None
        self._unread = 0

    @property
    def buffered(self) -> int:
        """Return the bytes that the kernel has not taken yet."""
        return self._bytes + self._transport.get_write_buffer_size()

    def put(self, data: bytes) -> None:
        """Write at the end of this turn of the loop; earlier when the turn brings more than `outbox_max` bytes."""
        pending = self._pending
        if not pending:
            self._loop.call_soon(self._flush)
        pending.append(data)
        self._bytes += len(data)
        if self._bytes > self._max:
            self._flush()

    def finish(self) -> None:
        """Write the last bytes. From here on there is no too slow: who ends the connection bounds the time for it."""
        self._stop_watching()
        self._max = math.inf
        self._flush()

    def drop(self) -> None:
        """Forget what waits here: nobody is left to read it."""
        self._stop_watching()
        self._pending.clear()
        self._bytes = 0

    def _flush(self) -> None:
        pending = self._pending
        if not pending:
            return
        size, self._bytes = self._bytes, 0
        data = pending[0] if len(pending) == 1 else b"".join(pending)
        pending.clear()
        transport = self._transport
        if transport.is_closing():
            return
        if self._watch is not None:
            # Counted before the write: one large message to a client that reads is no sign of slowness.
            if transport.get_write_buffer_size() > self._cap:
                self._give_up()
                return
            self._unread += size
        self._metrics.bytes_out += size
        transport.write(data)
        if self._watch is None and transport.get_write_buffer_size() > self._max:
            self._unread = transport.get_write_buffer_size()
            self._watch = self._loop.call_later(self._stall_s, self._look)

    def _look(self) -> None:
        """Compare with the last look, and look again while there is more than there should be."""
        self._watch = None
        size = self._transport.get_write_buffer_size()
        if size <= self._max:
            return
        if size >= self._unread:
            self._give_up()
            return
        self._unread = size
        self._watch = self._loop.call_later(self._stall_s, self._look)

    def _give_up(self) -> None:
        self.drop()
        self._metrics.too_slow += 1
        self._too_slow()

    def _stop_watching(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
