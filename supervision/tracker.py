"""The tracker: takes note of what ended in the whole tree, so that a person can read it when those who saw it are gone.

    behind (what is stored not read, or something not written) ⇄ even with the store

Nobody needs it: who reports to it does not wait for it, and losing it costs at most what was told while the store was away. It
starts without the store and answers from memory; nothing is written before what is stored was read, so that the numbering
goes on where the last life of the tracker, or of the server, left it.

Invariant: while it is even with the store, an ending is stored before whoever told it is answered.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final, Protocol

from persistence.store import StoreUnavailable
from supervision.chronicle import KEPT_MAX, Chronicle, Note, read_note
from undying.protocol.data import JsonObject
from undying.protocol.errors import UndyingError
from undying.resilience.backoff import Backoff
from undying.resilience.tasks import vital

BACKOFF: Final = Backoff(base_s=0.25, factor=2.0, cap_s=10.0, jitter=0.25)
"""Between tries to come even with a store that does not answer."""
LOOK_S: Final = 2.0
"""Seconds that who wants to read waits for what is stored; past them they get what is in memory."""
STOP_S: Final = 2.0

_log = logging.getLogger(__name__)


class Log(Protocol):
    """What the tracker needs of a store (`persistence.store.Store`). All raise StoreUnavailable."""

    async def add_to_chronicle(self, rows: Sequence[bytes], keep: int) -> None:
        """Write rows, and forget all but the latest `keep`."""
        ...

    async def chronicle(self, limit: int) -> list[bytes]:
        """Return the latest rows, the latest first."""
        ...

    async def close(self) -> None:
        """Let go of all connections."""
        ...


class Tracker:
    """The program `tracker`. `open_log` connects to the store; raises UndyingError or StoreUnavailable."""

    def __init__(self, open_log: Callable[[], Awaitable[Log]], rng: random.Random) -> None:
        self._open_log = open_log
        self._rng = rng
        self._chronicle = Chronicle()
        self._unwritten: deque[Note] = deque(maxlen=KEPT_MAX)
        self._log: Log | None = None
        self._one_at_a_time = asyncio.Lock()
        self._behind = asyncio.Event()
        self._looked = asyncio.Event()
        self._catching_up: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to read what is stored; returns before that, for the store may be away."""
        self._behind.set()
        self._catching_up = vital(self._catch_up(), "coming even with the store")

    async def stop(self) -> None:
        """Write what is not written, if the store is there."""
        if self._catching_up is not None:
            self._catching_up.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_S):
                await self._write()
                if self._log is not None:
                    await self._log.close()

    async def note(self, packed: Sequence[bytes]) -> None:
        """Take note of endings (`Note.pack`). May be called again with the same ones."""
        for each in packed:
            note = read_note(each)
            numbered = None if note is None else self._chronicle.add(note)
            if numbered is not None:
                self._unwritten.append(numbered)
        if not self._behind.is_set() and not await self._write():
            self._behind.set()

    async def endings(self, limit: int) -> JsonObject:
        """Return `{history, lost}`: up to `limit` endings, the latest first, and how many were told and did not arrive."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                await self._looked.wait()
        return {"history": [*self._chronicle.rows(limit)], "lost": self._chronicle.lost}

    async def status(self) -> list[JsonObject]:
        """Return no row: it has no children."""
        return []

    async def _catch_up(self) -> None:
        tries = 0
        while True:
            await self._behind.wait()
            if await self._write():
                tries = 0
                if not self._unwritten:  # what was noted meanwhile waits for nobody else
                    self._behind.clear()
            else:
                await asyncio.sleep(BACKOFF.delay(tries, self._rng))
                tries += 1

    async def _write(self) -> bool:
        """Write what is not written, after what is stored was read; tells whether it is done."""
        async with self._one_at_a_time:
            writing: deque[Note] = deque()
            try:
                log = self._log = self._log or await self._open()
                writing, self._unwritten = self._unwritten, deque(maxlen=KEPT_MAX)
                if writing:
                    await log.add_to_chronicle([note.pack() for note in writing], KEPT_MAX)
                    writing.clear()
            except (StoreUnavailable, UndyingError) as problem:
                _log.warning("the chronicle is not written: %s", problem)
                return False
            finally:
                self._looked.set()
                self._unwritten = deque([*writing, *self._unwritten], maxlen=KEPT_MAX)
            return True

    async def _open(self) -> Log:
        log = await self._open_log()
        try:
            rows = await log.chronicle(KEPT_MAX)
        except StoreUnavailable:
            await log.close()
            raise
        fresh, chronicle = self._chronicle.notes, Chronicle()
        chronicle.restore(note for row in reversed(rows) if (note := read_note(row)) is not None)
        self._unwritten.clear()
        self._unwritten.extend(numbered for note in fresh if (numbered := chronicle.add(note)) is not None)
        self._chronicle = chronicle
        return log
