"""Laws of an entity's memory: answers stay bounded, and what came after a position is told whole or not at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import actors.incarnation
from actors.answers import Answer, Answers, pack_records
from actors.incarnation import Incarnation
from persistence.journal import claim_entry
from persistence.store import Entry
from tests.stored_answers import Stored, unpack_records
from tests.unit.actors.toy import ToyRules
from undying.protocol.position import NOWHERE, Position

PER_USER, USERS = 3, 2
PUTS = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("123456"), st.booleans()), max_size=60)


def remembered(answers: Answers) -> list[Stored]:
    """Return all answers by user and op id."""
    return unpack_records(pack_records(answers.records()))


@settings(deadline=None)
@given(PUTS)
def test_answers_are_bounded_and_none_that_is_still_to_come_is_forgotten(puts: list[tuple[str, str, bool]]) -> None:
    answers = Answers(PER_USER, USERS)
    pending: set[tuple[str, str]] = set()
    for user, op_id, later in puts:
        answers.put(user, op_id, Answer(pending=later))
        (pending.add if later else pending.discard)((user, op_id))
        assert answers.get(user, op_id) == Answer(pending=later)
        kept = [(each.user, each.op_id) for each in remembered(answers)]
        assert pending <= set(kept)
        waiting = {each[0] for each in pending}
        assert len({each[0] for each in kept}) <= max(USERS, len(waiting) + 1)
        for one in {each[0] for each in kept}:
            theirs = sum(each[0] == one for each in pending)
            assert sum(each[0] == one for each in kept) <= max(PER_USER, theirs + 1)


@settings(deadline=None)
@given(PUTS)
def test_restored_answers_are_those_that_were_stored(puts: list[tuple[str, str, bool]]) -> None:
    answers, again = Answers(PER_USER, USERS), Answers(PER_USER, USERS)
    for user, op_id, later in puts:
        answers.put(user, op_id, Answer(Position(1, 1), {"id": op_id}, pending=later))
    stored = remembered(answers)
    again.restore(pack_records(answers.records()))
    assert [each for each in stored if each.pending] == [each for each in remembered(again) if each.pending]
    users = [each[0] for each in stored]
    # More than that is only kept while too many answers are still to come.
    if len(set(users)) <= USERS and all(users.count(user) <= PER_USER for user in users):
        assert remembered(again) == stored


@dataclass
class Story:
    """Entries as a journal holds them, and all positions in it."""

    entries: list[Entry]
    positions: list[Position]


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """Draw epochs of entries of one to three events each."""
    entries: list[Entry] = []
    positions = [NOWHERE]
    for sizes in draw(st.lists(st.lists(st.integers(1, 3), max_size=4), min_size=1, max_size=4)):
        claim = claim_entry(positions[-1], "@server", 0)
        entries.append(claim)
        positions.append(claim.position)
        for size in sizes:
            last = positions[-1].after(size)
            entries.append(Entry(last, positions[-1].seq + 1, True, msgpack.packb([])))
            positions += [positions[-1].after(at + 1) for at in range(size)]
    return Story(entries, positions)


ANYWHERE = st.builds(Position, st.integers(0, 5), st.integers(0, 14))


@pytest.mark.parametrize("tail_max", [1, 3, 1000])
@settings(deadline=None)
@given(story=stories(), asked=ANYWHERE)
def test_what_came_after_a_position_is_told_without_a_hole_or_not_at_all(tail_max: int, story: Story, asked: Position) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(actors.incarnation, "TAIL_ENTRIES_MAX", tail_max)
        rules = ToyRules()
        life: Incarnation[Any, Any] = Incarnation("session:t", rules, {}, Answers(), story.positions[-1])
        life.tail_from = NOWHERE
        for entry in story.entries:
            life.remember_entry(entry)
    for position in (asked, *story.positions):
        told = life.since(position)
        if told is None:
            assert position not in story.positions or position < life.tail_from
            continue
        assert position in story.positions
        covered = [each for each in story.positions if any(_holds(entry, each) for entry in told)]
        assert [each for each in covered if each > position] == [each for each in story.positions if each > position]


def _holds(entry: Entry, position: Position) -> bool:
    return entry.position.epoch == position.epoch and entry.first <= position.seq <= entry.position.seq
