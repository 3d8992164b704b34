"""One client that comes to a table, asks for a few things one by one, and goes.

    upgrading ─▶ greeted ─join─▶ joining ─live─▶ at the table ─▶ gone

It decodes every frame, so it is for measurements of few messages; `benchmarks.table_client` is for many. What it waits for
fails with `Gone` when the connection ends first.
"""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Any, Final, Self, cast

import msgpack

from benchmarks.ops import frame
from benchmarks.wire import Cutter, Upgrade

WAIT_S: Final = 60.0
"""Seconds for anything that is waited for: a server that is slow is measured, one that is stuck ends the measurement."""


class Gone(Exception):
    """The connection ended, or an op was refused."""


class Visitor(asyncio.Protocol):
    """See the module. Made by `connect`; `epoch` is that of the session's last position, 0 before there is one."""

    def __init__(self, authority: str) -> None:
        self.session = ""
        self.epoch = 0
        self.shown = b""
        """The session's snapshot as it came, empty when there was none."""
        self._upgrade: Upgrade | None = Upgrade(authority)
        self._cutter = Cutter()
        self._waiting: dict[str, asyncio.Future[float]] = {}
        self._transport: asyncio.Transport | None = None
        self._leaving = False
        self._end = ""

    @classmethod
    async def connect(cls, authority: str) -> Self:
        """Open a socket and wait to be greeted. Raises Gone, BadFrame, TimeoutError, OSError."""
        host, _, port = authority.rpartition(":")
        visitor = cls(authority)
        greeted = visitor._expect("hello")
        await asyncio.get_running_loop().create_connection(lambda: visitor, host, int(port))
        await _within(greeted)
        return visitor

    async def join(self, token: str) -> float:
        """Take a seat; returns the seconds until the table was live. Raises Gone, TimeoutError."""
        live = self._expect("live")
        begun_s = perf_counter()
        self._write({"t": "join", "token": token})
        return await _within(live) - begun_s

    async def ask(self, op_id: str, kind: str, args: dict[str, object]) -> float:
        """Have an op done; returns the seconds until its answer. Raises Gone, TimeoutError."""
        acked = self._expect(op_id)
        begun_s = perf_counter()
        self._write({"t": "op", "id": op_id, "s": self.session, "k": kind, "d": args})
        return await _within(acked) - begun_s

    def beat(self) -> None:
        """Say that somebody is here."""
        self._write({"t": "hb"})

    def leave(self) -> None:
        """Say goodbye."""
        self._leaving = True
        self._write({"t": "leave"})
        assert self._transport is not None
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        self._transport = cast(asyncio.Transport, transport)
        assert self._upgrade is not None
        self._transport.write(self._upgrade.request)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let down whoever waits."""
        self._end = f"a connection ended with close code {self._cutter.close_code}: {exc or 'end of stream'}"
        if not self._leaving:
            for waiting in self._waiting.values():
                _fail(waiting, self._end)
        self._waiting.clear()

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        at_s = perf_counter()
        if self._upgrade is not None:
            head, _, data = data.partition(b"\r\n\r\n")  # the server writes its answer in one piece
            self._upgrade.check(head)
            self._upgrade = None
        for payload in self._cutter.cut(data):
            self._take(payload, msgpack.unpackb(payload), at_s)

    def _take(self, payload: bytes, message: dict[str, Any], at_s: float) -> None:
        kind = message["t"]
        if kind == "welcome":
            self.session = f"session:{message['session']}"
        elif kind in ("snapshot", "live") and message["s"] == self.session:
            self.epoch = message["pos"][0]
            if kind == "snapshot":
                self.shown = payload
            else:
                self._settle("live", at_s)
        elif kind == "hello":
            self._settle("hello", at_s)
        elif kind == "ack" and message["ok"]:
            self._settle(message["id"], at_s)
        elif kind == "ack" and message["id"] in self._waiting:
            _fail(self._waiting.pop(message["id"]), f"an op was refused: {message['error']}")

    def _expect(self, what: str) -> asyncio.Future[float]:
        waiting: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        if self._end:
            _fail(waiting, self._end)
        else:
            self._waiting[what] = waiting
        return waiting

    def _settle(self, what: str, at_s: float) -> None:
        waiting = self._waiting.pop(what, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(at_s)

    def _write(self, message: dict[str, object]) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frame(message))


def _fail(waiting: asyncio.Future[float], why: str) -> None:
    if not waiting.done():
        waiting.set_exception(Gone(why))


async def _within(waiting: asyncio.Future[float]) -> float:
    async with asyncio.timeout(WAIT_S):
        return await waiting
