"""The order of a journal: what a claim holds, and which entry may follow which.

Within an epoch the seqs of the events run without a gap. An epoch starts with a claim, `(e, 0)`, that names the position it
follows. So a reader can tell a complete journal from one that lost something, wherever it starts to read.
"""

from __future__ import annotations

from typing import cast

import msgpack

from persistence.store import Damaged, Entry
from undying.protocol.position import Position, parse_position

CLAIMED = "claimed"


def claim_entry(previous: Position, by: str, at_ms: int, above: int = 0) -> Entry:
    """Make the entry that opens the epoch after `previous` (NOWHERE: the stream's first), and after the epoch `above`.

    An epoch of which the store lost everything must not come twice: who was at a position in it would take the events of
    the second one for those that follow there.
    """
    event = {"n": 0, "k": CLAIMED, "d": {"prev": list(previous)}, "by": by, "at": at_ms}
    return Entry(Position(max(previous.epoch, above) + 1, 0), 0, True, cast(bytes, msgpack.packb([event])))


def claimed_after(entry: Entry) -> Position:
    """Return the position that a claim names as the one before it. Raises Damaged when the entry is no claim."""
    try:
        match msgpack.unpackb(entry.body):
            case [{"n": 0, "k": "claimed", "d": {"prev": previous}}] if (position := parse_position(previous)) is not None:
                return position
    except (ValueError, TypeError) as error:
        raise Damaged(f"the claim at {_show(entry.position)} can't be unpacked: {error}") from error
    raise Damaged(f"the entry at {_show(entry.position)} is no claim")


def check_next(last: Position, entry: Entry, *, last_is_entry: bool) -> None:
    """Raise Damaged unless nothing is missing between `last` and the entry.

    `last_is_entry` tells that `last` was read from this journal. A claim may then name an older position: a late write
    landed between a look at the journal and a claim without `follows`. A checkpoint's position has to be named exactly:
    the store may have lost its newest entries, and the journal gone on without what the checkpoint holds.
    """
    position = entry.position
    if position.seq == 0:
        previous = claimed_after(entry)
        joins = previous <= last if last_is_entry else previous == last
        if entry.first != 0 or position.epoch <= last.epoch or not joins:
            raise Damaged(f"the claim at {_show(position)} follows {_show(previous)}, not {_show(last)}")
    elif position.epoch != last.epoch or entry.first != last.seq + 1 or position.seq < entry.first:
        raise Damaged(f"after {_show(last)} comes {entry.first} to {_show(position)}: events are missing")


def _show(position: Position) -> str:
    return f"{position.epoch}-{position.seq}"
