"""Rest: an entity that nobody needs is saved and let go; the next who asks for it wakes it.

An entity is needed while a gateway follows it, while it waits for another entity's answer, and for `after_s` seconds after its
last event. Its journal and checkpoint are all that is left of it then.

    live ─ nobody follows, nothing happens, `after_s` ─▶ saved ─ still so at the next look ─▶ gone, its supervisor told

Invariants: what is let go is saved up to its position, or has nothing to save; nobody who waits for an answer is let down; a
supervisor that does not hear of it only keeps the place for longer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias

import structlog

from actors.lives import Life, Lives
from actors.saving import Saver
from undying.protocol.errors import UndyingError
from undying.protocol.position import Position

log = structlog.get_logger()

LOOKS: Final = 10
"""Looks within `after_s`; so an entity goes at most a tenth of it late, and one look more when it has to be saved first."""

LOOK_S_MAX: Final = 30.0

Tell: TypeAlias = Callable[[Sequence[tuple[str, int]]], Awaitable[None]]
"""Tells the supervisors which entities went to rest, with their epochs. Raises UndyingError when one can't be told."""


class Resting:
    """Lets entities of one host go. `followed` tells whether a gateway follows a stream; times in seconds, 0 is never."""

    def __init__(
        self, lives: Lives, saver: Saver, settled: asyncio.Lock, followed: Callable[[str], bool], after_s: float, tell: Tell
    ) -> None:
        self._lives = lives
        self._saver = saver
        self._settled = settled
        self._followed = followed
        self._after_s = after_s
        self._tell = tell
        self._now_s = asyncio.get_running_loop().time
        self._quiet: dict[str, tuple[Position, float]] = {}

    async def run(self) -> None:
        """Look again and again."""
        if self._after_s <= 0:
            return
        while True:
            await asyncio.sleep(min(LOOK_S_MAX, self._after_s / LOOKS))
            await self.look()

    async def look(self) -> None:
        """Let go of what has been unneeded for long enough."""
        now = self._now_s()
        idle = [life for life in self._lives.live.values() if now - self._quiet_since(life, now) >= self._after_s]
        self._quiet = {stream: quiet for stream, quiet in self._quiet.items() if stream in self._lives.live}
        if not idle:
            return
        gone: list[tuple[str, int]] = []
        async with self._settled:
            for life in idle:
                if self._needed(life) or self._saver.begin_unsaved(life.stream, now):
                    continue
                self._lives.lose(life, "moved")
                gone.append((life.stream, life.position.epoch))
        if gone:
            log.info("gone to rest", streams=[stream for stream, _ in gone])
            await self._report(gone)

    def _quiet_since(self, life: Life, now: float) -> float:
        """Return since when nothing has happened to an entity that nobody follows; now when somebody does."""
        if self._followed(life.stream):
            self._quiet.pop(life.stream, None)
            return now
        position, since = self._quiet.get(life.stream, (None, now))
        if position != life.position:
            since = now
            self._quiet[life.stream] = (life.position, now)
        return since

    def _needed(self, life: Life) -> bool:
        if self._lives.live.get(life.stream) is not life or self._followed(life.stream):
            return True
        noted = self._quiet.get(life.stream)
        return noted is None or noted[0] != life.position or bool(life.rules.outbox(life.state)) or bool(life.orphans())

    async def _report(self, gone: Sequence[tuple[str, int]]) -> None:
        try:
            await self._tell(gone)
        except UndyingError as failure:
            log.warning("a rest was not told", code=failure.failure.code, streams=len(gone))
