"""The order of a journal: what a claim holds, and which entry may follow which.

Within an epoch the seqs of the events run without a gap. An epoch starts with a claim, `(e, 0)`, that names the position it
follows. So a reader can tell a complete journal from one that lost something, wherever it starts to read. What a claim leaves
behind by naming an older position than the one before it is off the line (`persistence.lineage`): nothing of it is looked at,
so it may be damaged, which may be the reason why it was left.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import msgpack

from persistence.lineage import Gap, trace
from persistence.store import Damaged, Entry
from undying.protocol.position import Position, parse_position

CLAIMED = "claimed"


def claim_entry(previous: Position, by: str, at_ms: int, above: int = 0, over: Position | None = None) -> Entry:
    """Make the entry that opens the epoch after `previous` (NOWHERE: the stream's first), and after the epoch `above`.

    An epoch of which the store lost everything must not come twice: who was at a position in it would take the events of
    the second one for those that follow there. `over` is the end of the journal when the claim rolls it back to `previous`.
    """
    data = {"prev": list(previous)} if over is None else {"prev": list(previous), "over": list(over)}
    event = {"n": 0, "k": CLAIMED, "d": data, "by": by, "at": at_ms}
    epoch = max(previous.epoch, above, 0 if over is None else over.epoch) + 1
    return Entry(Position(epoch, 0), 0, True, cast(bytes, msgpack.packb([event])))


def claimed_after(entry: Entry) -> Position:
    """Return the position that a claim names as the one before it. Raises Damaged when the entry is no claim."""
    try:
        match msgpack.unpackb(entry.body):
            case [{"n": 0, "k": "claimed", "d": {"prev": previous}}] if (position := parse_position(previous)) is not None:
                return position
    except (ValueError, TypeError) as error:
        raise Damaged(f"the claim at {_show(entry.position)} can't be unpacked: {error}") from error
    raise Damaged(f"the entry at {_show(entry.position)} is no claim")


def gap_of(entry: Entry) -> Gap | None:
    """Return what a claim rolled back over, None when it was none of that kind. Raises Damaged when the entry is no claim."""
    previous = claimed_after(entry)
    over = parse_position(msgpack.unpackb(entry.body)[0]["d"].get("over"))
    return None if over is None else Gap(previous, over)


def along_line(entries: Sequence[Entry], until: Position) -> list[Entry]:
    """Return those of a stretch of a journal, in order, that are on the line of `until`. Raises Damaged.

    Only claims on that line are unpacked. Whether something is missing on it is for `check_next` to tell.
    """
    claims = {entry.position.epoch: entry for entry in entries if entry.position.seq == 0}
    try:
        line = trace(until, lambda epoch: claimed_after(claims[epoch]) if epoch in claims else None)
    except ValueError as error:
        raise Damaged(str(error)) from None
    return [entry for entry in entries if line.holds(entry.position)]


def check_next(last: Position, entry: Entry) -> None:
    """Raise Damaged unless the entry is the one that comes next after `last` on a line.

    A claim has to name `last` exactly: the store may have lost its newest entries, and the journal gone on without what a
    checkpoint holds; or `last` was rolled back over.
    """
    position = entry.position
    if position.seq == 0:
        previous = claimed_after(entry)
        if entry.first != 0 or position.epoch <= last.epoch or previous != last:
            raise Damaged(f"the claim at {_show(position)} follows {_show(previous)}, not {_show(last)}")
    elif position.epoch != last.epoch or entry.first != last.seq + 1 or position.seq < entry.first:
        raise Damaged(f"after {_show(last)} comes {entry.first} to {_show(position)}: events are missing")


def _show(position: Position) -> str:
    return f"{position.epoch}-{position.seq}"
