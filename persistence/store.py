"""The store port: journals, checkpoints and the few server-wide facts, over Redis or in memory.

A journal is a Redis stream per entity; an entry's id *is* the position of its last event, and Redis refuses an id that is
not above the last one. That is the fence: after a claim for a higher epoch every write of an older incarnation is refused.

Failures:

- `Fenced`: the store refused the position. The incarnation that tried is over.
- `StoreUnavailable`: refused before anything was written, or *unknown* (the answer was lost). `unknown` tells which.
  Either way the incarnation throws itself away and the journal is read again.
- `Damaged`: what is stored can't be read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from undying.protocol.ids import Kind
from undying.protocol.position import Position


class StoreError(Exception):
    """What a store raises, and nothing else."""


class Fenced(StoreError):
    """A newer incarnation has claimed the stream, or one of this epoch already wrote this position."""

    def __init__(self, stream: str, position: Position) -> None:
        super().__init__(f"{stream} refused position {position.epoch}-{position.seq}")
        self.stream = stream
        self.position = position


class StoreUnavailable(StoreError):
    """The store did not do it, or (`unknown`) it can't be told whether it did."""

    def __init__(self, reason: str, *, unknown: bool) -> None:
        super().__init__(reason)
        self.unknown = unknown


class Damaged(StoreError):
    """Stored bytes are not what was written."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One journal entry: the events of one commit of one entity.

    `body`: MessagePack list of event maps (`undying.protocol.events`); `answers`: MessagePack list of the answers that the
    commit holds (`actors.answers`); `effects`: `undying.protocol.effects`. `first` is the seq of the first event, `position`
    that of the last. A claim has `first` 0, seq 0, and a body of one `claimed` event.
    """

    position: Position
    first: int
    public: bool
    body: bytes
    answers: bytes = b""
    effects: bytes = b""

    @property
    def size(self) -> int:
        """Return the bytes it holds, for bounds."""
        return len(self.body) + len(self.answers) + len(self.effects) + 64


@dataclass(frozen=True, slots=True)
class Append:
    """An entry on its way to a stream's journal.

    `follows`, which claims give: written only when the stream's last entry is at exactly this position (NOWHERE: it has
    none). Reading the last position and then claiming is two steps, and what a dead host had sent may land between them;
    then the claim would name a wrong predecessor. So it is refused as Fenced instead, and the claimant reads again.
    """

    stream: str
    entry: Entry
    follows: Position | None = None


def distinct_streams(appends: Sequence[Append]) -> None:
    """Raise ValueError when a stream stands twice among the appends: then one refusal could leave a gap behind it."""
    if len({append.stream for append in appends}) != len(appends):
        raise ValueError("one append holds a stream twice")


@dataclass(frozen=True, slots=True)
class SavedCheckpoint:
    """A checkpoint as stored: sealed bytes (`persistence.checkpoint`) at a position."""

    position: Position
    blob: bytes


class Store(Protocol):
    """What persistence needs of a database. All methods raise StoreUnavailable; more as they say."""

    async def last(self, stream: str) -> Position | None:
        """Return the position of the last entry, None when the stream has none."""
        ...

    async def append(self, appends: Sequence[Append]) -> list[Fenced | StoreUnavailable | None]:
        """Write entries of different streams in one round trip, durably; one outcome each, in order, None for written.

        Outcomes are returned, also when the store can't be reached at all. Raises ValueError when a stream stands twice.
        """
        ...

    async def read(self, stream: str, after: Position, limit: int) -> list[Entry]:
        """Read up to `limit` entries whose last position is above `after`, in order. Raises Damaged."""
        ...

    async def first(self, stream: str) -> Entry | None:
        """Read the oldest entry that is kept. Raises Damaged."""
        ...

    async def trim(self, stream: str, before: Position) -> int:
        """Forget entries whose last position is at or below `before`, never the last one. Returns how many."""
        ...

    async def put_checkpoint(self, stream: str, checkpoint: SavedCheckpoint, keep: int) -> Position | None:
        """Keep a checkpoint and drop all but the `keep` with the highest positions.

        Returns the oldest kept position once `keep` are kept, None before: the journal may be trimmed behind it.
        """
        ...

    async def checkpoints(self, stream: str) -> list[SavedCheckpoint]:
        """Return the kept checkpoints, highest position first."""
        ...

    async def add_to_directory(self, kind: Kind, entity_id: str, facts: bytes) -> None:
        """List an entity under its kind, with a few facts about it; the last writer wins."""
        ...

    async def directory(self, kind: Kind) -> dict[str, bytes]:
        """Return the listed entities of a kind and their facts."""
        ...

    async def secret(self, name: str, fresh: bytes) -> bytes:
        """Return the server-wide secret `name`; the first caller's `fresh` becomes it."""
        ...

    async def ping(self) -> None:
        """Return when the store answers."""
        ...

    async def close(self) -> None:
        """Let go of all connections."""
        ...
