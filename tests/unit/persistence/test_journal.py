"""Which entry may follow which."""

from __future__ import annotations

import msgpack
import pytest

from persistence.journal import check_next, claim_entry, claimed_after
from persistence.store import Damaged, Entry
from undying.protocol.position import NOWHERE, Position


def events(epoch: int, first: int, last: int) -> Entry:
    return Entry(Position(epoch, last), first, True, b"")


def test_a_claim_opens_the_next_epoch_and_names_what_it_follows() -> None:
    claim = claim_entry(Position(3, 9), "@session:a", 1000)
    assert (claim.position, claim.first, claim.public) == (Position(4, 0), 0, True)
    assert claimed_after(claim) == Position(3, 9)
    event = {"n": 0, "k": "claimed", "d": {"prev": [3, 9]}, "by": "@session:a", "at": 1000}
    assert msgpack.unpackb(claim.body) == [event]


@pytest.mark.parametrize(
    "body", [b"", b"\xc1", b"\x90", msgpack.packb([{"n": 0, "k": "claimed", "d": {"prev": [1]}}]), msgpack.packb([{"n": 0}])]
)
def test_an_entry_that_is_no_claim_has_no_predecessor(body: bytes) -> None:
    with pytest.raises(Damaged):
        claimed_after(Entry(Position(1, 0), 0, True, body))


@pytest.mark.parametrize(
    ("last", "entry"),
    [
        (NOWHERE, claim_entry(NOWHERE, "", 0)),
        (Position(1, 0), events(1, 1, 4)),
        (Position(1, 4), events(1, 5, 5)),
        (Position(1, 4), claim_entry(Position(1, 4), "", 0)),
        (Position(1, 0), claim_entry(Position(1, 0), "", 0)),
    ],
)
def test_what_joins_is_taken(last: Position, entry: Entry) -> None:
    check_next(last, entry, last_is_entry=False)
    check_next(last, entry, last_is_entry=True)


@pytest.mark.parametrize(
    ("last", "entry"),
    [
        (NOWHERE, events(1, 1, 1)),
        (NOWHERE, claim_entry(Position(1, 4), "", 0)),
        (Position(1, 4), events(1, 6, 6)),
        (Position(1, 4), events(1, 4, 6)),
        (Position(1, 4), events(2, 5, 5)),
        (Position(1, 4), events(1, 5, 4)),
        (Position(1, 4), claim_entry(Position(1, 5), "", 0)),
        (Position(2, 4), claim_entry(Position(1, 4), "", 0)),
    ],
)
def test_what_leaves_a_gap_or_goes_back_is_damaged(last: Position, entry: Entry) -> None:
    for last_is_entry in (False, True):
        with pytest.raises(Damaged):
            check_next(last, entry, last_is_entry=last_is_entry)


def test_a_claim_may_name_an_older_entry_only_when_the_later_ones_were_read() -> None:
    claim = claim_entry(Position(1, 4), "", 0)
    check_next(Position(1, 6), claim, last_is_entry=True)
    with pytest.raises(Damaged):
        check_next(Position(1, 6), claim, last_is_entry=False)
