"""One client at a table: a protocol on a raw socket that reads as little of each frame as it can.

    upgrading ─▶ joining ─▶ live ─▶ ended

The clients of one table get the same bytes; a frame of events is decoded for the first of them and recognised for the
others. Acks are read at fixed places when they look as our server writes them, else decoded. A client that ends while it
should play sets its table's `broken`, which ends the measurement: it is then no measurement any more.
"""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Any, Final, cast

import msgpack

from benchmarks.ledger import Delivered, Ledger, Seen
from benchmarks.ops import frame, number_of
from benchmarks.wire import BadFrame, Cutter, Upgrade

REMEMBERED: Final = 64
"""Frames of a table that are recognised when its other clients get them too."""

_ACK: Final = b"\xa1t\xa3ack\xa2id\xa8"
_OK: Final = b"\xa2ok\xc3"
_EVENTS: Final = b"\xa1t\xa2ev"


class Table:
    """What the clients of one session share."""

    def __init__(self, index: int, stream: str) -> None:
        self.index = index
        self.stream = stream
        self.ledger: Ledger | None = None
        self.broken = ""
        self._known: dict[bytes, Delivered] = {}

    def delivered(self, payload: bytes) -> Delivered:
        """Return what a frame of events holds."""
        known = self._known.get(payload)
        if known is None:
            known = self._known[payload] = _read_events(msgpack.unpackb(payload))
            if len(self._known) > REMEMBERED:
                del self._known[next(iter(self._known))]
        return known


class Client(asyncio.Protocol):
    """See the module. `seat` is its place at the table, `token` its join token."""

    def __init__(self, table: Table, seat: int, authority: str, token: str) -> None:
        self.table = table
        self.seat = seat
        self.piece = f"piece-{seat}"
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._upgrade: Upgrade | None = Upgrade(authority)
        self._token = token
        self._cutter = Cutter()
        self._seen = Seen()
        self._at = (0, 0)
        self._transport: asyncio.Transport | None = None

    def write(self, data: bytes) -> None:
        """Send a frame."""
        assert self._transport is not None
        self._transport.write(data)

    def begin(self, ledger: Ledger) -> None:
        """Keep what comes from now on in another ledger."""
        self.table.ledger = ledger
        self._seen = ledger.seen.get((self.table.index, self.seat), Seen())
        # Says that somebody is here, and costs nothing beside a rung.
        self.write(frame({"t": "hb"}))

    def leave(self) -> None:
        """Say goodbye."""
        if self._transport is not None:
            self.table.ledger = None
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        self._transport = cast(asyncio.Transport, transport)
        assert self._upgrade is not None
        self._transport.write(self._upgrade.request)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        why = f"a connection ended with close code {self._cutter.close_code}: {exc or 'end of stream'}"
        if not self.ready.done():
            self.ready.set_exception(BadFrame(why))
        if self.table.ledger is not None:
            self.table.broken = why

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        at_s = perf_counter()
        if self._upgrade is not None:
            head, _, data = data.partition(b"\r\n\r\n")  # the server writes its answer in one piece
            self._upgrade.check(head)
            self._upgrade = None
            self.write(frame({"t": "join", "token": self._token}))
        ledger = self.table.ledger
        for payload in self._cutter.cut(data):
            if ledger is None:
                self._opening(msgpack.unpackb(payload))
            elif payload.startswith(_ACK, 1) and payload.startswith(_OK, 19):
                ledger.answer(int(payload[11:19]), at_s, None)
            elif payload.startswith(_EVENTS, 1):
                self._events(self.table.delivered(payload), at_s, ledger)
            else:
                self._other(msgpack.unpackb(payload), at_s, ledger)

    def _events(self, delivered: Delivered, at_s: float, ledger: Ledger) -> None:
        if (delivered.epoch, delivered.first - 1) != self._at:
            ledger.faults["gap or repeat in a stream"] += 1
        self._at = (delivered.epoch, delivered.last)
        self._seen.frames.append((at_s, delivered))
        self._seen.ops += len(delivered.numbers)

    def _other(self, message: dict[str, Any], at_s: float, ledger: Ledger) -> None:
        kind = message["t"]
        if kind == "ack":
            code = None if message["ok"] else str(message["error"]["code"])
            ledger.answer(int(message["id"]), at_s, code)
        elif kind in ("snapshot", "gone"):  # nothing failed, so nobody may have to start over
            ledger.faults["client lost its place"] += 1

    def _opening(self, message: dict[str, Any]) -> None:
        kind = message["t"]
        if kind == "ev":
            delivered = _read_events(message)
            self._at = (delivered.epoch, delivered.last)
        elif kind == "live":
            self._at = (message["pos"][0], message["pos"][1])
            put = {"id": self.piece, "x": 0, "y": 0}
            self.write(frame({"t": "op", "id": f"put-{self.piece}", "s": self.table.stream, "k": "token.put", "d": put}))
        elif kind == "ack":
            if message["ok"]:
                self.ready.set_result(None)
            else:
                self.ready.set_exception(BadFrame(f"no token on the map: {message['error']}"))


def _read_events(message: dict[str, Any]) -> Delivered:
    events = message["b"]
    numbers = tuple(number for event in events if (number := number_of(event)) is not None)
    return Delivered(message["e"], events[0]["n"], events[-1]["n"] + events[-1].get("skip", 1) - 1, numbers)
