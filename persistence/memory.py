"""A store in memory, with the semantics of the port: for tests, the simulation and tables that nobody minds losing.

The *database* holds the data and outlives the handles; several `MemoryStore` handles on one database are what several
processes on one Redis are. Nothing here waits, so every method is atomic.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from persistence.lineage import keep_of
from persistence.store import Append, Entry, Outcome, SavedCheckpoint, distinct_streams
from undying.protocol.ids import Kind
from undying.protocol.position import NOWHERE, Position


def _table() -> defaultdict[str, dict[str, bytes]]:
    return defaultdict(dict)


@dataclass(slots=True)
class MemoryDatabase:
    """What is stored. Journals are in order of position; checkpoints are by position; nothing else points in here."""

    journals: dict[str, list[Entry]] = field(default_factory=dict)
    checkpoints: dict[str, dict[Position, bytes]] = field(default_factory=dict)
    directory: dict[str, dict[str, bytes]] = field(default_factory=_table)
    secrets: dict[str, bytes] = field(default_factory=dict)
    chronicle: list[bytes] = field(default_factory=list)


class MemoryStore:
    """A handle on a `MemoryDatabase`; implements `persistence.store.Store`."""

    def __init__(self, database: MemoryDatabase | None = None) -> None:
        self._database = MemoryDatabase() if database is None else database

    async def last(self, stream: str) -> Position | None:
        """See `Store.last`."""
        journal = self._database.journals.get(stream)
        return journal[-1].position if journal else None

    async def append(self, appends: Sequence[Append]) -> list[Outcome]:
        """See `Store.append`."""
        distinct_streams(appends)
        return [self._append(append) for append in appends]

    def _append(self, append: Append) -> Outcome:
        journal = self._database.journals.get(append.stream, [])
        refused = append.refused_at(journal[-1].position if journal else NOWHERE)
        if refused is None:
            self._database.journals.setdefault(append.stream, journal).append(append.entry)
        return refused

    async def read(self, stream: str, after: Position, limit: int) -> list[Entry]:
        """See `Store.read`."""
        journal = self._database.journals.get(stream, [])
        start = bisect_right(journal, after, key=lambda entry: entry.position)
        return journal[start : start + limit]

    async def first(self, stream: str) -> Entry | None:
        """See `Store.first`."""
        journal = self._database.journals.get(stream)
        return journal[0] if journal else None

    async def trim(self, stream: str, before: Position) -> int:
        """See `Store.trim`."""
        journal = self._database.journals.get(stream, [])
        count = min(bisect_right(journal, before, key=lambda entry: entry.position), max(len(journal) - 1, 0))
        del journal[:count]
        return count

    async def put_checkpoint(self, stream: str, checkpoint: SavedCheckpoint, keep: int) -> Position | None:
        """See `Store.put_checkpoint`."""
        kept = self._database.checkpoints.setdefault(stream, {})
        kept[checkpoint.position] = checkpoint.blob
        last = await self.last(stream)
        if last is not None and last.epoch > checkpoint.position.epoch:
            return None
        staying, trim_behind = keep_of(kept, keep, checkpoint.gaps)
        for position in kept.keys() - staying:
            del kept[position]
        return trim_behind

    async def checkpoints(self, stream: str) -> list[SavedCheckpoint]:
        """See `Store.checkpoints`."""
        kept = self._database.checkpoints.get(stream, {})
        return [SavedCheckpoint(position, kept[position]) for position in sorted(kept, reverse=True)]

    async def add_to_directory(self, kind: Kind, entity_id: str, facts: bytes) -> None:
        """See `Store.add_to_directory`."""
        self._database.directory[kind.value][entity_id] = facts

    async def directory(self, kind: Kind) -> dict[str, bytes]:
        """See `Store.directory`."""
        return dict(self._database.directory[kind.value])

    async def secret(self, name: str, fresh: bytes) -> bytes:
        """See `Store.secret`."""
        return self._database.secrets.setdefault(name, fresh)

    async def add_to_chronicle(self, rows: Sequence[bytes], keep: int) -> None:
        """See `Store.add_to_chronicle`."""
        written = self._database.chronicle
        written += rows
        del written[: max(0, len(written) - keep)]

    async def chronicle(self, limit: int) -> list[bytes]:
        """See `Store.chronicle`."""
        return self._database.chronicle[::-1][:limit]

    async def ping(self) -> None:
        """See `Store.ping`."""

    async def close(self) -> None:
        """See `Store.close`. The database stays."""
