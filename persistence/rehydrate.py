"""Find what an entity is rebuilt from: the newest checkpoint that holds, and everything that happened after it.

Each way is tried from the best to the worst: the newest checkpoint, then older ones with longer tails, then the journal
alone if it is kept from its beginning. A way counts only when its checkpoint passes the seal and its tail is complete up
to the position asked for. What is passed over is reported, never silently; if no way is left, the entity is damaged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from persistence.checkpoint import Checkpoint, unseal
from persistence.journal import check_next
from persistence.store import Damaged, Entry, Store
from undying.protocol.position import NOWHERE, Position

PAGE_ENTRIES = 256


@dataclass(frozen=True, slots=True)
class Loaded:
    """A checkpoint (None: start from the initial state), the entries after it, and what was passed over, for a person."""

    checkpoint: Checkpoint | None
    tail: list[Entry]
    skipped: list[str] = field(default_factory=list)


def _take_any(_: Checkpoint) -> None:
    """Find every checkpoint usable."""


async def load(store: Store, stream: str, until: Position, usable: Callable[[Checkpoint], None] = _take_any) -> Loaded:
    """Load the stream up to and with `until`, the position of an entry (NOWHERE: an empty stream).

    `usable` raises Damaged for a checkpoint whose state can't be used; the next older one is tried then.
    Raises StoreUnavailable, and Damaged when neither a checkpoint nor the beginning leads to `until` without a gap.
    """
    skipped: list[str] = []
    for saved in await store.checkpoints(stream):
        if saved.position > until:
            skipped.append(f"checkpoint {saved.position.epoch}-{saved.position.seq} is ahead of the journal")
            continue
        try:
            checkpoint = unseal(stream, saved)
            usable(checkpoint)
            return Loaded(checkpoint, await read_tail(store, stream, checkpoint.position, until), skipped)
        except Damaged as error:
            skipped.append(str(error))
    try:
        return Loaded(None, await read_tail(store, stream, NOWHERE, until), skipped)
    except Damaged as error:
        reasons = "; ".join([*skipped, str(error)])
        raise Damaged(f"{stream} can't be rebuilt up to {until.epoch}-{until.seq}: {reasons}") from error


async def read_tail(store: Store, stream: str, after: Position, until: Position) -> list[Entry]:
    """Read the entries above `after` up to `until`. Raises StoreUnavailable, and Damaged when one is missing."""
    tail: list[Entry] = []
    last = after
    while last < until:
        page = await store.read(stream, last, PAGE_ENTRIES)
        if not page:
            raise Damaged(f"the journal ends at {last.epoch}-{last.seq}")
        for entry in page:
            check_next(last, entry, last_is_entry=bool(tail))
            if entry.position > until:
                raise Damaged(f"no entry ends at {until.epoch}-{until.seq}")
            tail.append(entry)
            last = entry.position
            if last == until:
                break
    return tail
