"""The promises, under everything that can go wrong at once. A seed that fails is printed and becomes a named test."""

import os
from collections import Counter

import pytest

from tests.simulation.run import simulate
from tests.simulation.troubles import MUST_HAPPEN

SEEDS = int(os.environ.get("UNDYING_SEEDS", "200"))
FIRST = int(os.environ.get("UNDYING_FIRST_SEED", "1"))
MANY = 200
_seen: Counter[str] = Counter()


@pytest.mark.parametrize("seed", range(FIRST, FIRST + SEEDS))
def test_nothing_acknowledged_is_lost_repeated_reordered_or_leaked(seed: int) -> None:
    _seen.update(simulate(seed), runs=1)


def test_all_that_can_go_wrong_did() -> None:
    print(dict(_seen))  # noqa: T201 - a figure to look at with -s
    if _seen["runs"] < MANY:
        pytest.skip(f"{_seen['runs']} runs need not have seen everything")
    assert MUST_HAPPEN - _seen.keys() == set()
