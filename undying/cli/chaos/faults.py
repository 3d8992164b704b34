"""How each fault is brought about on a server of one's own, and when it fell. Times are of the event loop's clock.

A fault that ends a process from within takes a moment, in which the process still serves; so it counts from when the process
was seen to be gone. One in the rules of an entity is felt by the op that it falls on.
"""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from typing import Final, NamedTuple

import psutil

from undying.cli.chaos import orders
from undying.cli.chaos.matrix import DECIDE, ENTITIES, FAIL_START, FAILING_STARTS, HOG, KILL, ROOT, STOP, STORE, Cell
from undying.cli.chaos.sabotage import word_for
from undying.cli.own_server import OwnServer
from undying.loadtest.crowd import Crowd, Turn
from undying.protocol.errors import Code, error

STOPPED_S: Final = 10.0
"""Seconds between SIGSTOP and SIGCONT."""

GONE_S: Final = 60.0
"""Seconds within which a process that was ordered to break, or to take memory, has ended."""

GONE_LOOK_S: Final = 0.005

OBSTACLE_S: Final = 3.0
"""Seconds in which the server tries twice to start its store again."""

STORE_CONFIG: Final = "store/valkey.conf"
"""What the embedded store writes before each start, in the data directory."""


class Struck(NamedTuple):
    """A fault that fell: when, and the op that it fell on, if it fell on one."""

    at_s: float
    turn: Turn | None = None


class Faults:
    """Brings faults about, one after the other."""

    def __init__(self, server: OwnServer, crowd: Crowd) -> None:
        self._server = server
        self._crowd = crowd
        self._clock = asyncio.get_running_loop().time
        self._orders = orders.place(server.data_dir)
        self._going_on: list[asyncio.Task[None]] = []

    async def strike(self, cell: Cell, stream: str, pid: int) -> Struck:
        """Let a cell's fault fall on the process `pid`. `stream` is of the entity that feels it. Raises UndyingError."""
        if cell.fault == DECIDE and cell.target in ENTITIES:
            at_s = self._clock()
            return Struck(at_s, await self._crowd.one(stream, word_for(cell.target)))
        if cell.fault == DECIDE:
            return await self._order(pid, orders.FAIL)
        if cell.fault == HOG:
            return await self._order(pid, orders.HOG)
        if cell.fault == STOP:
            return self._stop(pid)
        if cell.fault == FAIL_START:
            self._let_starts_fail(cell)
        else:
            assert cell.fault == KILL
        at_s = self._clock()
        os.kill(pid, signal.SIGKILL)
        return Struck(at_s)

    async def settle(self, cell: Cell) -> None:
        """Wait for what of a fault goes on by itself. Raises UndyingError UNAVAILABLE when it did not come about in full."""
        await asyncio.gather(*self._going_on)
        self._going_on.clear()
        if cell.fault == FAIL_START and cell.target != STORE and (left := orders.withdraw(self._orders, _program(cell.target))):
            raise error(Code.UNAVAILABLE, f"{left} of the {FAILING_STARTS} starts that were to fail did not come about")

    async def _order(self, pid: int, order: str) -> Struck:
        await orders.give(self._orders, pid, order)
        try:
            async with asyncio.timeout(GONE_S):
                while not _is_gone(pid):  # noqa: ASYNC110 - another process ends, which can only be looked at
                    await asyncio.sleep(GONE_LOOK_S)
        except TimeoutError:
            raise error(Code.UNAVAILABLE, f"process {pid} was told to {order} and lives after {GONE_S:g} s") from None
        return Struck(self._clock())

    def _stop(self, pid: int) -> Struck:
        process = psutil.Process(pid)
        at_s = self._clock()
        process.suspend()
        self._going_on.append(asyncio.create_task(_go_on(process)))
        return Struck(at_s)

    def _let_starts_fail(self, cell: Cell) -> None:
        if cell.target != STORE:
            orders.let_starts_fail(self._orders, _program(cell.target), FAILING_STARTS)
            return
        config = self._server.data_dir / STORE_CONFIG
        config.unlink()
        config.mkdir()  # so it can't be written

        async def clear() -> None:
            await asyncio.sleep(OBSTACLE_S)
            config.rmdir()

        self._going_on.append(asyncio.create_task(clear()))


async def _go_on(process: psutil.Process) -> None:
    await asyncio.sleep(STOPPED_S)
    with suppress(psutil.NoSuchProcess):  # it was replaced and killed meanwhile; psutil knows it from a later one of its pid
        process.resume()


def _is_gone(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def _program(target: str) -> str:
    """Return the name in the wiring of what runs in a target's process."""
    if target in ENTITIES:
        return "host"
    return ROOT if target == ROOT else target.removeprefix("supervisor:")
