"""Dice: what players write, the same result from the same generator, and the limits."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.dice import DETAIL_MAX, PARSED_MAX, BadDice, DiceBox


@pytest.mark.parametrize(
    ("expr", "low", "high"),
    [
        ("1d20+5", 6, 25),
        ("4d6kh3", 3, 18),
        ("2d20kl1", 1, 20),
        ("d%", 0, 90),
        ("8d6mi2", 16, 48),
        ("-1d4", -4, -1),
        ("7/2", 3, 3),
    ],
)
def test_a_total_is_within_what_the_notation_allows(expr: str, low: int, high: int) -> None:
    box, rng = DiceBox(), random.Random(5)
    totals = {box.roll(expr, rng).total for _ in range(200)}
    assert low <= min(totals)
    assert max(totals) <= high


def test_every_side_of_a_die_comes_up() -> None:
    box, rng = DiceBox(), random.Random(1)
    assert {box.roll("1d6", rng).total for _ in range(300)} == {1, 2, 3, 4, 5, 6}


@pytest.mark.parametrize("expr", ["6d6rr<3", "5d6e6", "9d4ro1", "(2d6,3d4)kh1", "10d10kh3", "6d6p1", "4d6ra6"])
def test_the_same_generator_gives_the_same_dice(expr: str) -> None:
    rolls = {DiceBox().roll(expr, random.Random(11)) for _ in range(20)}
    assert len(rolls) == 1


def test_the_global_generator_is_left_alone() -> None:
    before = random.getstate()
    DiceBox().roll("20d20rr1e20kh3+d%", random.Random(1))
    assert random.getstate() == before


def test_the_detail_shows_dropped_dice() -> None:
    total, detail = DiceBox().roll("2d20kl1+5[cold]", random.Random(3))
    assert detail == "2d20kl1 (5, ~11~) + 5 [cold]"
    assert total == 10


def test_a_long_detail_is_cut_and_the_total_stays_right() -> None:
    total, detail = DiceBox().roll("500d1", random.Random(0))
    assert (total, len(detail), detail[-1]) == (500, DETAIL_MAX, "…")


@pytest.mark.parametrize(
    "expr",
    [
        "", " ", "abc", "1d20+", "((1d6", "1d20 1d20", "1d6; import os", "é", "1d0", "1d10001", "501d6", "400d6+400d6",
        "1d1rr1", "1d6e>0", "300d2e>0", "3d6rrh1", "3d6el2", "1/0", "1%0", "9" * 150 + "*9", "1" * 201, "-" * 190 + "1",
        "(" * 90 + "1" + ")" * 90,
    ],
)  # fmt: skip
def test_what_is_no_dice_or_too_much_is_refused_with_a_reason(expr: str) -> None:
    with pytest.raises(BadDice) as refused:
        DiceBox().roll(expr, random.Random(0))
    assert str(refused.value)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="0123456789dkhlreoamip<>()+-*/%, []", max_size=40))
def test_no_text_breaks_the_dice(expr: str) -> None:
    try:
        total, detail = DiceBox().roll(expr, random.Random(0))
    except BadDice:
        return
    assert abs(total) <= 2**53
    assert len(detail) <= DETAIL_MAX


def test_parsed_expressions_are_kept_within_a_bound() -> None:
    box = DiceBox()
    for bonus in range(PARSED_MAX + 20):
        box.roll(f"1d20+{bonus}", random.Random(0))
    assert len(box._parsed) == PARSED_MAX
