"""From the bytes of one client to whole messages, a bounded number of them in one turn of the loop.

A read may hold tens of thousands of tiny frames. So the library is given `SLICE_BYTES` bytes at once, and after about
`TURN_FRAMES` frames or `TURN_BYTES` bytes others have their turn. What is left of the read waits here, with reading paused:
never more than one read. It waits just so while the peer has paused the socket. After our goodbye the client's is looked for
at the same pace.

More than `frames_per_s` frames, pings included, end the connection with 4108. What is not used is saved up for `BURST_S`
seconds; that is settled only when the allowance is used up, so at most twice as much passes at once.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Final, Protocol, cast

from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol

from gateway.metrics import Metrics
from gateway.sockets import SocketSettings
from undying.protocol.closes import Close
from undying.protocol.codec import Encoding

SLICE_BYTES: Final = 2_048
TURN_FRAMES: Final = 64
TURN_BYTES: Final = 65_536
BURST_S: Final = 5.0

_TEXT, _BINARY, _CONT = Opcode.TEXT, Opcode.BINARY, Opcode.CONT


class Edge(Protocol):
    """What the inbox needs of its connection."""

    def close(self, code: int, reason: str) -> None:
        """Say goodbye; calls `Inbox.end`."""
        ...

    def goodbye(self) -> None:
        """End at once: the client said goodbye too, or talks nonsense. Calls `Inbox.end`."""
        ...

    def answer(self) -> None:
        """Write what the library has to say: pongs, or the last word."""
        ...

    def guarded(self, call: Callable[[], None]) -> None:
        """Call, and let a defect end this connection and no other."""
        ...


class Inbox:
    """See the module. `receive` gets each whole message: text or bytes, as the encoding has it."""

    def __init__(
        self,
        ws: ServerProtocol,
        transport: asyncio.Transport,
        encoding: Encoding,
        settings: SocketSettings,
        metrics: Metrics,
        edge: Edge,
    ) -> None:
        self.receive: Callable[[bytes | str], None] = _nobody
        self._ws = ws
        self._transport = transport
        self._encoding = encoding
        self._opcode = _TEXT if encoding == "json" else _BINARY
        self._metrics = metrics
        self._edge = edge
        self._loop = asyncio.get_running_loop()
        self._frames_per_s = settings.frames_per_s
        self._allowance = BURST_S * settings.frames_per_s or math.inf
        self._earned_s = self._loop.time()
        self._partial: bytearray | None = None
        self._rest = bytearray()  # not yet given to the library
        self._held: list[Frame] = []  # given back by the library, not yet looked at
        self._reading = True
        self._scheduled = False
        self._paused = False
        self._ended = False
        self._over = False  # ended, and there is no goodbye to look for
        self._deaf = False  # paused or ended

    def feed(self, data: bytes) -> None:
        """Take the bytes of one read."""
        if len(data) > SLICE_BYTES or not self._reading:
            self._rest += data
            if self._reading:
                self._go_on()
            return
        self._parse(data)
        if self._held and not self._deaf:
            self._go_on_later()

    def pause(self) -> None:
        """Give no message to `receive` until `resume`, and read no more."""
        if not self._ended:
            self._paused = self._deaf = True
            self._stop_reading()

    def resume(self) -> None:
        """Go on in the next turn of the loop with what waits here, then read again."""
        if self._paused and not self._ended:
            self._paused = self._deaf = False
            self._go_on_later()

    def end(self, *, goodbye: bool) -> None:
        """Give nothing more to `receive`; `goodbye`: go on to look for the client's."""
        self._paused, self._ended, self._over, self._deaf = False, True, not goodbye, True
        self._partial = None
        self._held = []
        if self._over:
            self._rest.clear()
        if self._rest:
            self._go_on_later()
        else:
            self._read_again()

    def _go_on_later(self) -> None:
        self._stop_reading()
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._edge.guarded, self._go_on)

    def _go_on(self) -> None:
        """Do one turn's share of what waits here; then there is another turn, or more to read."""
        self._scheduled = False
        frames_left, slices_left = TURN_FRAMES, TURN_BYTES // SLICE_BYTES
        while frames_left > 0 and slices_left > 0 and not (self._paused or self._over) and (self._held or self._rest):
            if self._held:
                held, self._held = self._held, []
                frames_left -= self._look_at(held)
            else:
                part = self._rest[:SLICE_BYTES]
                del self._rest[:SLICE_BYTES]
                slices_left -= 1
                frames_left -= self._parse(part)
        if self._paused or self._over:
            return
        if self._held or self._rest:
            self._go_on_later()
        else:
            self._read_again()

    def _parse(self, data: bytes | bytearray) -> int:
        """Give bytes to the library and look at the frames that they complete; return how many were looked at."""
        ws = self._ws
        ws.receive_data(cast(bytes, data))
        frames = cast("list[Frame]", ws.events_received())
        self._allowance -= len(frames)
        if self._allowance < 0 and not self._earned():
            self._too_many()
            return 0
        if self._ended:
            return self._look_for_goodbye(frames)
        return self._look_at(frames)

    def _too_many(self) -> None:
        if self._ended:
            self._edge.goodbye()
        else:
            self._edge.close(Close.RATE_LIMIT, "more frames than a table needs")

    def _look_for_goodbye(self, frames: list[Frame]) -> int:
        self._ws.data_to_send()
        if self._ws.eof_sent:
            self._edge.goodbye()
        return len(frames)

    def _earned(self) -> bool:
        """Add what came since the allowance was last used up; tell whether that is enough."""
        now_s = self._loop.time()
        since_s, self._earned_s = now_s - self._earned_s, now_s
        self._allowance += min(since_s, BURST_S) * self._frames_per_s
        return self._allowance >= 0

    def _look_at(self, frames: list[Frame]) -> int:
        """Make messages of frames, of as many as one turn may; return of how many."""
        metrics = self._metrics
        looked_at = 0
        for frame in frames:
            if self._deaf or looked_at == TURN_FRAMES:
                if not self._ended:
                    self._held = frames[looked_at:]
                return looked_at
            looked_at += 1
            opcode = frame.opcode
            if opcode is self._opcode and frame.fin:
                data = cast(bytes, frame.data)
            elif opcode is self._opcode:
                self._partial = bytearray(frame.data)
                continue
            elif opcode is _CONT:
                # The library bounds the sum of fragments by frame_max and refuses one that continues nothing.
                whole = cast(bytearray, self._partial)
                whole += frame.data
                if not frame.fin:
                    continue
                self._partial = None
                data = bytes(whole)
            elif opcode is _TEXT or opcode is _BINARY:
                wanted = "text" if self._encoding == "json" else "binary"
                self._edge.close(Close.PROTOCOL_ERROR, f"this subprotocol has {wanted} frames")
                continue
            else:
                continue
            metrics.frames_in += 1
            metrics.bytes_in += len(data)
            if self._opcode is _BINARY:
                self.receive(data)
            else:
                self._text(data)
        if self._ws.writes and not self._ended:
            self._edge.answer()
        return looked_at

    def _text(self, data: bytes) -> None:
        try:
            text = str(data, "utf-8")
        except UnicodeDecodeError:
            self._edge.close(Close.INVALID_DATA, "text is UTF-8")
            return
        self.receive(text)

    def _stop_reading(self) -> None:
        if self._reading and not self._transport.is_closing():
            self._reading = False
            self._transport.pause_reading()

    def _read_again(self) -> None:
        if not self._reading and not self._transport.is_closing():
            self._reading = True
            self._transport.resume_reading()


def _nobody(_message: bytes | str) -> None:
    """Nothing is read before there is a peer."""
