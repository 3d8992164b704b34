"""The promises, under everything that can go wrong at once. A seed that fails is printed and becomes a named test."""

import os

import pytest

from tests.simulation.run import simulate

SEEDS = int(os.environ.get("UNDYING_SEEDS", "200"))
FIRST = int(os.environ.get("UNDYING_FIRST_SEED", "1"))


@pytest.mark.parametrize("seed", range(FIRST, FIRST + SEEDS))
def test_nothing_acknowledged_is_lost_repeated_reordered_or_leaked(seed: int) -> None:
    simulate(seed)
