"""Find what an entity is rebuilt from: the newest checkpoint that holds, and everything that happened after it on its line.

Each way is tried from the best to the worst: the newest checkpoint, then older ones with longer tails, then the journal
alone if it is kept from its beginning. A way counts only when its checkpoint passes the seal and its tail is complete up
to the position asked for. What is passed over is reported, never silently; if no way is left, the entity is damaged.

Only what is on the line of that position counts (`persistence.lineage`). A checkpoint that was rolled back over is passed
over by its position alone: its state may be what ended every process that took it in, so nobody loads it to find out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from persistence.checkpoint import Checkpoint, unseal
from persistence.journal import along_line, check_next, claimed_after
from persistence.store import Damaged, Entry, Store
from undying.protocol.position import NOWHERE, Position

PAGE_ENTRIES = 256


@dataclass(frozen=True, slots=True)
class Loaded:
    """A checkpoint (None: start from the initial state), the entries after it, and what was passed over, for a person."""

    checkpoint: Checkpoint | None
    tail: list[Entry]
    skipped: list[str] = field(default_factory=list)


class OffLine(Damaged):
    """The way to a position does not lead over the one that it was to be read from: that one was rolled back over."""


def _take_any(_: Checkpoint) -> None:
    """Find every checkpoint usable."""


async def load(store: Store, stream: str, until: Position, usable: Callable[[Checkpoint], None] = _take_any) -> Loaded:
    """Load the stream up to and with `until`, the position of an entry or a checkpoint (NOWHERE: an empty stream).

    `usable` raises Damaged for a checkpoint whose state can't be used; the next older one is tried then.
    Raises StoreUnavailable, and Damaged when neither a checkpoint nor the beginning leads to `until` without a gap.
    """
    skipped: list[str] = []
    for saved in await store.checkpoints(stream):
        if saved.position > until:
            skipped.append(f"checkpoint {_show(saved.position)} is past {_show(until)}")
            continue
        try:
            checkpoint = unseal(stream, saved)
            tail = await read_tail(store, stream, checkpoint.position, until)
            usable(checkpoint)
            return Loaded(checkpoint, tail, skipped)
        except Damaged as error:
            skipped.append(str(error))
    try:
        return Loaded(None, await read_tail(store, stream, NOWHERE, until), skipped)
    except Damaged as error:
        reasons = "; ".join([*skipped, str(error)])
        raise Damaged(f"{stream} can't be rebuilt up to {_show(until)}: {reasons}") from error


async def read_tail(store: Store, stream: str, after: Position, until: Position) -> list[Entry]:
    """Read the entries above `after` up to `until` that are on the line of `until`.

    Raises StoreUnavailable, OffLine when that line does not lead over `after`, and Damaged when one of them is missing.
    """
    if after == until:
        return []
    tail = along_line(await _read(store, stream, after, until), until)
    first = tail[0]
    if first.position.seq == 0 and (named := claimed_after(first)) < after:
        raise OffLine(f"{_show(after)} was rolled back over: the claim at {_show(first.position)} follows {_show(named)}")
    last = after
    for entry in tail:
        check_next(last, entry)
        last = entry.position
    return tail


async def _read(store: Store, stream: str, after: Position, until: Position) -> list[Entry]:
    """Read the journal above `after` up to an entry at `until`, whatever line it is on."""
    found: list[Entry] = []
    last = after
    while last < until:
        page = await store.read(stream, last, PAGE_ENTRIES)
        if not page:
            raise Damaged(f"the journal ends at {_show(last)}")
        found += [entry for entry in page if entry.position <= until]
        last = page[-1].position
    if not found or found[-1].position != until:
        raise Damaged(f"no entry ends at {_show(until)}")
    return found


def _show(position: Position) -> str:
    return f"{position.epoch}-{position.seq}"
