"""The store port: journals, checkpoints and the few server-wide facts, over Redis or in memory.

A journal is a Redis stream per entity; an entry's id *is* the position of its last event, and Redis refuses an id that is
not above the last one. That is the fence: after a claim for a higher epoch every write of an older incarnation is refused.

Failures:

- `Fenced`: the store refused the position. The incarnation that tried is over.
- `TailLost`: the store does not have any more what it had acknowledged. The incarnation that tried is over too; what is left
  in the store is now the truth.
- `StoreUnavailable`: refused before anything was written, or *unknown* (the answer was lost). `unknown` tells which.
  Either way the incarnation throws itself away and the journal is read again.
- `Damaged`: what is stored can't be read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias

from persistence.lineage import Gap
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


class TailLost(StoreError):
    """The journal ends at `last`, before the position that a write `follows`: entries that were acknowledged are gone.

    Nothing was written. A failover to a replica that lagged leads to this, a power loss under `everysec`, a restart under
    `memory`.
    """

    def __init__(self, stream: str, last: Position, follows: Position) -> None:
        super().__init__(f"{stream} ends at {last.epoch}-{last.seq}, before {follows.epoch}-{follows.seq}")
        self.stream = stream
        self.last = last
        self.follows = follows


class StoreUnavailable(StoreError):
    """The store did not do it, or (`unknown`) it can't be told whether it did."""

    def __init__(self, reason: str, *, unknown: bool) -> None:
        super().__init__(reason)
        self.unknown = unknown


class Damaged(StoreError):
    """Stored bytes are not what was written."""


Outcome: TypeAlias = Fenced | TailLost | StoreUnavailable | None
"""What became of one entry of an append; None: it is written."""


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


UNREADABLE: Final = -1


def unreadable(position: Position) -> Entry:
    """Stand for an entry of which only the position can be read: it joins nothing."""
    return Entry(position, UNREADABLE, public=False, body=b"")


@dataclass(frozen=True, slots=True)
class Append:
    """An entry on its way to a stream's journal, and the position that it `follows` (NOWHERE: it is the stream's first).

    A claim is written only when the stream's last entry is at exactly this position. Reading the last position and then
    claiming is two steps, and what a dead host had sent may land between them; then the claim would name a wrong
    predecessor. So it is refused instead, and the claimant reads again.

    For events the fence keeps the order, so a store need not look at the end for each of them. It must when it may have
    lost entries since the last look: at the first append of a stream over a new connection.
    """

    stream: str
    entry: Entry
    follows: Position

    @property
    def claims(self) -> bool:
        """Tell whether it opens an epoch."""
        return self.entry.first == 0

    def refused_at(self, last: Position) -> Fenced | TailLost | None:
        """Tell what becomes of it when the journal ends at `last`; None: it may be written."""
        if last > self.follows or self.entry.position <= last:
            return Fenced(self.stream, self.entry.position)
        return TailLost(self.stream, last, self.follows) if last < self.follows else None


def distinct_streams(appends: Sequence[Append]) -> None:
    """Raise ValueError when a stream stands twice among the appends: then one refusal could leave a gap behind it."""
    if len({append.stream for append in appends}) != len(appends):
        raise ValueError("one append holds a stream twice")


@dataclass(frozen=True, slots=True)
class SavedCheckpoint:
    """A checkpoint as stored: sealed bytes (`persistence.checkpoint`) at a position.

    `gaps` is what rollbacks before it left behind, for whoever puts it; what is read back has it inside the seal only.
    """

    position: Position
    blob: bytes
    gaps: tuple[Gap, ...] = field(default=(), compare=False)


class Store(Protocol):
    """What persistence needs of a database. All methods raise StoreUnavailable; more as they say."""

    async def last(self, stream: str) -> Position | None:
        """Return the position of the last entry, None when the stream has none."""
        ...

    async def append(self, appends: Sequence[Append]) -> list[Outcome]:
        """Write entries of different streams, durably, in one round trip when it need not look first (see `Append`).

        One outcome each, in order: Fenced when the journal is ahead of what the entry follows, TailLost when it is behind.
        Outcomes are returned, also when the store can't be reached at all. Raises ValueError when a stream stands twice.
        """
        ...

    async def read(self, stream: str, after: Position, limit: int) -> list[Entry]:
        """Read up to `limit` entries whose last position is above `after`, in order.

        One that can't be read comes as `unreadable`, for it may be off the line (`persistence.lineage`), where it does not
        matter.
        """
        ...

    async def first(self, stream: str) -> Entry | None:
        """Read the oldest entry that is kept, see `read`."""
        ...

    async def trim(self, stream: str, before: Position) -> int:
        """Forget entries whose last position is at or below `before`, never the last one. Returns how many."""
        ...

    async def put_checkpoint(self, stream: str, checkpoint: SavedCheckpoint, keep: int) -> Position | None:
        """Keep a checkpoint and drop all but `keep` of them (`persistence.lineage.keep_of`).

        Returns the position behind which the journal may be trimmed, None for none. One that comes late, when a newer epoch
        has been claimed, drops nothing: it does not know what its successor stands on.
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

    async def add_to_chronicle(self, rows: Sequence[bytes], keep: int) -> None:
        """Write rows behind those of the server's chronicle, and forget all but the latest `keep`.

        When an answer was lost, and the rows are sent again, they may stand there twice.
        """
        ...

    async def chronicle(self, limit: int) -> list[bytes]:
        """Return the latest `limit` rows of the server's chronicle, the latest first."""
        ...

    async def ping(self) -> None:
        """Return when the store answers."""
        ...

    async def close(self) -> None:
        """Let go of all connections."""
        ...
