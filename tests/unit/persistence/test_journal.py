"""Which entry may follow which."""

from __future__ import annotations

import msgpack
import pytest

from persistence.journal import along_line, check_next, claim_entry, claimed_after, gap_of
from persistence.lineage import Gap
from persistence.store import Damaged, Entry, unreadable
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
    check_next(last, entry)


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
        (Position(1, 6), claim_entry(Position(1, 4), "", 0, over=Position(1, 6))),
        (Position(1, 4), unreadable(Position(1, 5))),
        (Position(1, 4), unreadable(Position(2, 0))),
    ],
)
def test_what_leaves_a_gap_or_goes_back_is_damaged(last: Position, entry: Entry) -> None:
    with pytest.raises(Damaged):
        check_next(last, entry)


def test_a_claim_that_rolls_back_names_what_it_follows_and_the_end_that_it_leaves_behind() -> None:
    claim = claim_entry(Position(1, 4), "", 0, over=Position(3, 2))
    assert (claim.position, claimed_after(claim), gap_of(claim)) == (
        Position(4, 0),
        Position(1, 4),
        Gap(Position(1, 4), Position(3, 2)),
    )
    assert gap_of(claim_entry(Position(1, 4), "", 0)) is None


def test_of_a_stretch_only_what_is_on_the_line_is_taken_whatever_the_rest_holds() -> None:
    broken_claim = Entry(Position(2, 0), 0, True, b"\xc1")
    back = claim_entry(Position(1, 4), "", 0, over=Position(2, 3))
    journal = [events(1, 1, 4), events(1, 5, 6), broken_claim, unreadable(Position(2, 3)), back, events(3, 1, 2)]
    assert along_line(journal, Position(3, 2)) == [journal[0], back, journal[-1]]
    assert along_line(journal[:2], Position(1, 6)) == journal[:2]
    with pytest.raises(Damaged):
        along_line(journal[:4], Position(2, 3))
