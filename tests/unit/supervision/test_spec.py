"""Specs are checked when they are made, and strategies name who goes along."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from actors.runtime import Exit, Program
from supervision.history import KEPT_MAX, Ended, History
from supervision.placement import Budget
from supervision.spec import ChildSpec, Intensity, Siblings, Strategy

X = Program("x")


@pytest.mark.parametrize(
    "make",
    [
        lambda: ChildSpec("", X),
        lambda: ChildSpec("a", Program("")),
        lambda: ChildSpec("a", X, shutdown_s=-1),
        lambda: Intensity(-1, 10),
        lambda: Intensity(1, 0),
        lambda: Siblings([ChildSpec("a", X), ChildSpec("a", X)]),
        lambda: Budget(hosts_per_node=0),
    ],
)
def test_what_makes_no_sense_is_refused_up_front(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError):
        make()


@pytest.mark.parametrize(
    ("strategy", "along"),
    [(Strategy.ONE_FOR_ONE, ()), (Strategy.ONE_FOR_ALL, ("a", "c")), (Strategy.REST_FOR_ONE, ("c",))],
)
def test_a_strategy_names_the_siblings_that_go_along(strategy: Strategy, along: tuple[str, ...]) -> None:
    siblings = Siblings([ChildSpec(name, X) for name in "abc"], strategy)
    assert siblings.restarted_with("b") == along
    with pytest.raises(KeyError):
        siblings.restarted_with("d")


def test_a_history_keeps_the_sum_and_the_latest_endings() -> None:
    history = History()
    for second in range(KEPT_MAX + 10):
        history.add(Ended(float(second), f"host {second}", Exit("killed")))
    rows = history.rows(now=100.0)
    assert (history.total, len(rows)) == (KEPT_MAX + 10, KEPT_MAX)
    assert rows[0] == {"ago_ms": 27_000.0, "where": "host 73", "reason": "killed", "detail": ""}
    assert history.since(70.0) == 3
