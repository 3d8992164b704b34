"""Which part of a journal counts, and which checkpoints are kept for it."""

from __future__ import annotations

import pytest

from persistence.lineage import Gap, Kept, keep_of, trace
from undying.protocol.position import NOWHERE, Position

NAMED = {1: NOWHERE, 2: Position(1, 6), 3: Position(2, 4), 4: Position(1, 2), 5: Position(4, 3)}
"""Epoch 4 rolled back to 1-2; 2 and 3 are off its line."""


def test_the_line_of_a_position_is_what_the_claims_lead_back_to() -> None:
    assert trace(Position(5, 1), NAMED.get).ends == {5: 1, 4: 3, 1: 2, 0: 0}
    assert trace(Position(3, 9), NAMED.get).ends == {3: 9, 2: 4, 1: 6, 0: 0}


@pytest.mark.parametrize("on_line", [(1, 0), (1, 2), (4, 0), (4, 3), (5, 1)])
def test_what_led_to_a_position_is_on_its_line(on_line: tuple[int, int]) -> None:
    assert trace(Position(5, 1), NAMED.get).holds(Position(*on_line))


@pytest.mark.parametrize("off_line", [(1, 3), (1, 6), (2, 0), (3, 0), (3, 9), (4, 4), (5, 2), (6, 0)])
def test_what_was_rolled_back_over_or_came_later_is_off_the_line(off_line: tuple[int, int]) -> None:
    assert not trace(Position(5, 1), NAMED.get).holds(Position(*off_line))


def test_a_line_begins_with_the_epoch_whose_claim_is_not_known_any_more() -> None:
    assert trace(Position(5, 1), {5: Position(4, 3)}.get).ends == {5: 1, 4: 3}


def test_a_claim_that_names_what_is_not_before_it_leads_nowhere() -> None:
    with pytest.raises(ValueError, match="not before it"):
        trace(Position(5, 1), {5: Position(5, 0)}.get)


def test_what_a_rollback_drops_are_the_events_that_are_not_on_both_lines() -> None:
    line = trace(Position(3, 9), NAMED.get)
    assert line.events_off(trace(Position(2, 1), NAMED.get)) == 3 + 9
    assert line.events_off(trace(Position(5, 1), NAMED.get)) == 4 + 4 + 9
    assert line.events_off(line) == 0


def positions(*pairs: tuple[int, int]) -> list[Position]:
    return [Position(*pair) for pair in pairs]


def test_without_rollbacks_the_newest_checkpoints_are_kept() -> None:
    assert keep_of(positions((1, 9), (2, 1), (1, 3), (1, 6)), 3, ()) == Kept(positions((2, 1), (1, 9), (1, 6)), Position(1, 6))
    assert keep_of(positions((1, 9)), 3, ()) == Kept(positions((1, 9)), None)


def test_what_the_line_stands_on_is_kept_before_newer_ones_that_were_rolled_back_over() -> None:
    kept = keep_of(positions((4, 5), (3, 9), (2, 2), (1, 2)), 3, [Gap(Position(1, 2), Position(3, 9))])
    assert kept == Kept(positions((4, 5), (1, 2), (3, 9)), None)


def test_the_journal_is_trimmed_only_when_enough_checkpoints_on_the_line_are_kept() -> None:
    gap = Gap(Position(1, 2), Position(3, 9))
    kept = keep_of(positions((4, 9), (4, 5), (3, 9), (1, 2)), 3, [gap])
    assert kept == Kept(positions((4, 9), (4, 5), (1, 2)), Position(1, 2))


def test_after_a_rollback_to_what_an_earlier_one_left_that_one_is_on_the_line_again() -> None:
    again = [Gap(Position(2, 2), Position(4, 5))]
    kept = keep_of(positions((5, 1), (4, 5), (2, 2), (1, 2)), 3, again)
    assert kept == Kept(positions((5, 1), (2, 2), (1, 2)), Position(1, 2))
