"""Kills, and when the server noticed them.

Only a process that the server's own status names and that runs below the command's own server is ever killed. A kill waits
until what it aims at is live and a warm spare waits, as in a server that has been up for a moment: a play is faster than any
table, and three kills in three seconds would measure how long this machine takes to start a process.
"""

from __future__ import annotations

import asyncio
import math
import os
import signal
from collections.abc import Callable, Sequence
from typing import Final

from undying.cli.own_server import OwnServer
from undying.loadtest.recovery import Killed
from undying.protocol.data import JsonObject
from undying.protocol.errors import Code, UndyingError, error

SETTLED_S: Final = 120.0
"""Seconds within which a server that is left alone has its spares ready."""

LOOK_S: Final = 0.05
NOTICED_S: Final = 20.0
LOOKS: Final = 5
"""How many answers the moment of noticing is taken from."""


class Killer:
    """Kills processes of one server. `clock` is the one that all times are taken from."""

    def __init__(self, server: OwnServer, clock: Callable[[], float]) -> None:
        self._server = server
        self._clock = clock

    async def status(self) -> list[JsonObject]:
        """Return the rows of the server's status. Raises UndyingError."""
        told = (await asyncio.to_thread(self._server.management.status)).get("actors")
        return [row for row in told if isinstance(row, dict)] if isinstance(told, list) else []

    async def settled(self, spares: int, actor: str = "", not_pid: int = 0) -> list[JsonObject]:
        """Wait until everything is live and so many spares wait, and `actor`, if one is given, is in another process.

        Raises UndyingError UNAVAILABLE past SETTLED_S.
        """
        return await self._until(
            lambda rows: _settled(rows, spares) and (not actor or _row(rows, actor, not_pid) is not None),
            f"{spares} spares{actor and f' and no live {actor}'}",
        )

    async def aim(self, actor: str) -> int:
        """Wait until an actor is live and a spare waits; returns the process that it lives in. Raises UndyingError."""
        rows = await self._until(lambda rows: _settled(rows, 1) and _row(rows, actor) is not None, actor)
        row = _row(rows, actor)
        pid = row.get("pid") if row is not None else None
        if not isinstance(pid, int) or not self._server.owns(pid):
            raise error(Code.INTERNAL, f"{actor} lives in no process of the server", pid=pid)
        return pid

    def kill(self, actor: str, pid: int) -> Killed:
        """Kill what `aim` returned."""
        at_s = self._clock()
        os.kill(pid, signal.SIGKILL)
        return Killed(actor, at_s)

    async def noticed(self, killed: Killed) -> float | None:
        """Return when the entity's supervisor learnt of the kill; None when it did not say so within NOTICED_S.

        It tells how long ago that was, somewhere between our asking and its answer's coming; several answers narrow it down.
        """
        earliest, latest = killed.at_s, math.inf
        looks = 0
        deadline = self._clock() + NOTICED_S
        while looks < LOOKS and self._clock() < deadline:
            asked_s = self._clock()
            ago_s = await self._ended_ago(killed.id)
            told_s = self._clock()
            if ago_s is not None and told_s - ago_s >= killed.at_s:
                looks += 1
                earliest, latest = max(earliest, asked_s - ago_s), min(latest, told_s - ago_s)
            await asyncio.sleep(LOOK_S)
        return (earliest + latest) / 2 if looks else None

    async def _ended_ago(self, actor: str) -> float | None:
        try:
            row = next((row for row in await self.status() if row.get("id") == actor), None)
        except UndyingError:
            return None  # the gateway may be the next that was killed
        last_exit = None if row is None else row.get("last_exit")
        ago_ms = last_exit.get("ago_ms") if isinstance(last_exit, dict) else None
        return ago_ms / 1000 if isinstance(ago_ms, int | float) else None

    async def _until(self, good: Callable[[Sequence[JsonObject]], bool], what: str) -> list[JsonObject]:
        rows: list[JsonObject] = []
        problem = ""
        try:
            async with asyncio.timeout(SETTLED_S):
                while not good(rows):
                    await asyncio.sleep(LOOK_S if rows or problem else 0)
                    try:
                        rows, problem = await self.status(), ""
                    except UndyingError as unanswered:  # the gateway or the root may be what was killed
                        rows, problem = [], f" ({unanswered})"
        except TimeoutError:
            raise error(Code.UNAVAILABLE, f"the server did not settle within {SETTLED_S:.0f} s: no {what}{problem}") from None
        return rows


def _settled(rows: Sequence[JsonObject], spares: int) -> bool:
    waiting = sum(row.get("kind") == "spare" for row in rows)
    return waiting >= spares and all(row.get("state") in ("live", "resting") for row in rows)


def _row(rows: Sequence[JsonObject], actor: str, not_pid: int = 0) -> JsonObject | None:
    """Return the row of a live actor that is in another process than `not_pid`."""
    alive = (row for row in rows if row.get("id") == actor and row.get("state") == "live")
    return next((row for row in alive if row.get("pid") != not_pid), None)
