"""How a supervisor tells the tracker of endings: without waiting, and without ever failing for it.

    nothing told ──tell──▶ gathering ──GATHER_S──▶ sending ──answered──▶ nothing told, or sending the rest
                                                      └─ no answer ──pause──┘

What is told waits in a bounded queue, is sent as a batch, and is sent again until the tracker has answered. While the tracker
is away for long the oldest are dropped; the numbers that are left out tell the tracker how many.

Invariant: a batch is under way at a time, so that the numbers of one life come in ascending.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeAlias

from actors.runtime import Exit, Inside, ProcessDied, Ref, RuntimeFault
from supervision.chronicle import DETAIL_CHARS_MAX, Ending, Note
from undying.protocol.errors import UndyingError
from undying.protocol.ids import new_id
from undying.resilience.backoff import Backoff

TRACKER: Final = "tracker"
"""Name of the tracker's process, and of its program in the wiring."""

QUEUE_MAX: Final = 500
"""Endings that wait for the tracker; one more, and the oldest is dropped."""
BATCH_MAX: Final = 100
GATHER_S: Final = 0.1
"""Seconds between an ending and its report: whoever restarts a child needs the processor first, and many may end at once."""
SEND_S: Final = 10.0
BACKOFF: Final = Backoff(base_s=0.1, factor=2.0, cap_s=5.0, jitter=0.25)

Tell: TypeAlias = Callable[[Ending], None]
"""Takes note of an ending. Returns at once and raises nothing."""

_log = logging.getLogger(__name__)


def tell_nobody(_ending: Ending) -> None:
    """Be the `Tell` of a tree without a tracker."""


class Reporter:
    """Tells the tracker, see the module. `now_ms` gives ms since 1970."""

    def __init__(self, inside: Inside, rng: random.Random, now_ms: Callable[[], int]) -> None:
        self._inside = inside
        self._rng = rng
        self._now_ms = now_ms
        self._life = new_id(rng, 12)
        self._numbers = itertools.count(1)
        self._waiting: deque[Note] = deque(maxlen=QUEUE_MAX)
        self._sending: asyncio.Task[None] | None = None
        self._tracker: Ref | None = None

    def tell(self, ending: Ending) -> None:
        """See `Tell`."""
        exit_ = Exit(ending.exit.reason, ending.exit.detail[:DETAIL_CHARS_MAX])
        note = Note(self._inside.name, self._life, next(self._numbers), self._now_ms(), replace(ending, exit=exit_))
        self._waiting.append(note)
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send())

    async def _send(self) -> None:
        await asyncio.sleep(GATHER_S)
        tries = 0
        while self._waiting:
            batch = list(itertools.islice(self._waiting, BATCH_MAX))
            try:
                await self._hand_over(batch)
            except (RuntimeFault, UndyingError, TimeoutError) as problem:
                _log.info("%d endings wait for the tracker: %r", len(self._waiting), problem)
                self._tracker = None
                await asyncio.sleep(BACKOFF.delay(tries, self._rng))
                tries += 1
                continue
            tries = 0
            while self._waiting and self._waiting[0].number <= batch[-1].number:
                self._waiting.popleft()

    async def _hand_over(self, batch: list[Note]) -> None:
        async with asyncio.timeout(SEND_S):
            self._tracker = self._tracker or await self._inside.runtime.find(TRACKER)
            if self._tracker is None:
                raise ProcessDied(TRACKER)
            await self._tracker.call("note", [note.pack() for note in batch])
