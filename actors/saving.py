"""When an entity's state is saved: every so many events, and at most so many seconds after a change.

The state is dumped between two cycles of the host, when it is settled, so at a position that is in the journal; writing
goes on beside the cycles. The journal is trimmed only behind the oldest of `KEEP` checkpoints, so that a damaged one
always has an older one with the whole journal behind it. Those that were rolled back over do not count for that, and are the
first to be dropped (`persistence.lineage.keep_of`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import structlog

from actors.answers import pack_records
from actors.incarnation import Incarnation
from persistence.checkpoint import Checkpoint, seal
from persistence.store import Entry, SavedCheckpoint, Store, StoreError
from undying.resilience.tasks import vital

log = structlog.get_logger()

SPACING_S: Final = 0.5
"""Seconds at least between two checkpoints of an entity that is busy. What comes after one is what a rehydrate has to replay:
a thousand events are 10 to 20 ms."""

DUMP_S_PER_BYTE: Final = 60e-9
DUMP_SHARE: Final = 0.05
"""At most this share of the time goes into checkpoints of a host's busy entities, by what a byte of one costs the host to make
and the store to write and sync, while appends wait. Past it they wait: many busy tables in one host are saved less often each.
"""

AGAIN_S: Final = 5.0
"""Seconds between two tries when a checkpoint can't be written."""

KEEP: Final = 3
"""How many checkpoints of an entity are kept."""


@dataclass(slots=True)
class _Watched:
    life: Incarnation[Any, Any]
    events: int = 0
    dirty_since_s: float | None = None
    begun_s: float = -SPACING_S
    not_before_s: float = 0.0
    task: asyncio.Task[None] | None = None


@dataclass(frozen=True, slots=True)
class _Dump:
    """A state as it was, and how much was unsaved in it: that is so again when it can't be written."""

    sealed: SavedCheckpoint
    events: int
    dirty_since_s: float | None


class Saver:
    """The checkpoints of one host's entities. Times are seconds of one clock that never goes back."""

    def __init__(self, store: Store, every_events: int, within_s: float, now_ms: Callable[[], int]) -> None:
        self._store = store
        self._every_events = every_events
        self._within_s = within_s
        self._now_ms = now_ms
        self._watched: dict[str, _Watched] = {}
        self._full: dict[str, _Watched] = {}
        self._free_s = 0.0

    def follow(self, life: Incarnation[Any, Any]) -> None:
        """Take care of an entity from its activation on."""
        events = sum(entry.position.seq - entry.first + 1 for entry in life.tail)
        self._watched[life.stream] = _Watched(life, events)

    def forget(self, stream: str) -> None:
        """Take no more care of a lost entity. A write under way goes on: what it writes is true."""
        self._watched.pop(stream, None)
        self._full.pop(stream, None)

    def count(self, life: Incarnation[Any, Any], entry: Entry, now_s: float) -> None:
        """Note a commit."""
        watched = self._watched[life.stream]
        watched.events += entry.position.seq - entry.first + 1
        if watched.dirty_since_s is None:
            watched.dirty_since_s = now_s
        if watched.events >= self._every_events:
            self._full[life.stream] = watched

    def any_due(self, now_s: float) -> bool:
        """Tell whether an entity has been without a checkpoint for too long since it changed."""
        return any(self._overdue(watched, now_s) for watched in self._watched.values())

    def begin_full(self, now_s: float) -> None:
        """Begin to save what has `every_events` new events, no more often than the bounds allow. Only between cycles."""
        for stream, watched in list(self._full.items()):
            if now_s < self._free_s:
                return  # who waits longest is first
            if watched.task is None and now_s >= max(watched.begun_s + SPACING_S, watched.not_before_s):
                del self._full[stream]
                size = self._begin(watched, now_s)
                self._free_s = now_s + size * DUMP_S_PER_BYTE / DUMP_SHARE

    def begin_due(self, now_s: float) -> None:
        """Begin to save what is overdue. Only between cycles."""
        for watched in self._watched.values():
            if self._overdue(watched, now_s):
                self._begin(watched, now_s)

    def begin_unsaved(self, stream: str, now_s: float) -> bool:
        """Begin to save an entity if it changed since its last checkpoint. Only between cycles.

        Returns whether there is something to wait for: a checkpoint that is being written, or that failed a moment ago.
        """
        watched = self._watched[stream]
        if watched.task is None and watched.dirty_since_s is None:
            return False
        if watched.task is None and now_s >= watched.not_before_s:
            self._begin(watched, now_s)
        return True

    async def save(self, life: Incarnation[Any, Any]) -> None:
        """Save one entity now, if it changed since its last checkpoint. Only while no op is taken. Raises StoreError."""
        watched = self._watched.get(life.stream)
        if watched is None:
            return
        if watched.task is not None:
            await watched.task
        if watched.dirty_since_s is not None:
            await self._write(watched, self._dump(watched))

    def _overdue(self, watched: _Watched, now_s: float) -> bool:
        since = watched.dirty_since_s
        if since is None or watched.task is not None:
            return False
        return now_s - since >= self._within_s and now_s >= watched.not_before_s

    def _begin(self, watched: _Watched, now_s: float) -> int:
        """Begin to save an entity; returns how many bytes it has."""
        watched.begun_s = now_s
        dump = self._dump(watched)
        watched.task = vital(self._write_beside(watched, dump), f"saving {watched.life.stream}")
        return len(dump.sealed.blob)

    def _dump(self, watched: _Watched) -> _Dump:
        life = watched.life
        events, since_s = watched.events, watched.dirty_since_s
        watched.events, watched.dirty_since_s = 0, None
        sealed = seal(
            Checkpoint(
                stream=life.stream,
                position=life.position,
                schema=life.rules.schema,
                at_ms=self._now_ms(),
                state=life.rules.dump(life.state),
                answers=pack_records(life.answers.records()),
                gaps=life.gaps,
            )
        )
        return _Dump(sealed, events, since_s)

    async def _write_beside(self, watched: _Watched, dump: _Dump) -> None:
        try:
            await self._write(watched, dump)
        except StoreError as failure:
            # Nothing is lost, the journal has it all; and it stays due.
            log.warning("checkpoint not written", stream=watched.life.stream, reason=str(failure))
            watched.not_before_s = watched.begun_s + AGAIN_S
        finally:
            watched.task = None

    async def _write(self, watched: _Watched, dump: _Dump) -> None:
        stream = watched.life.stream
        try:
            oldest = await self._store.put_checkpoint(stream, dump.sealed, KEEP)
        except StoreError:
            watched.events += dump.events
            if dump.dirty_since_s is not None:
                watched.dirty_since_s = dump.dirty_since_s
            raise
        if oldest is not None:
            await self._store.trim(stream, oldest)
