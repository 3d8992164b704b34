"""Figures out of many measurements."""

import pytest

from undying.loadtest.figures import percentile


@pytest.mark.parametrize(("share", "value"), [(0.0, 1.0), (0.5, 50.0), (0.99, 99.0), (1.0, 100.0)])
def test_a_percentile_is_one_of_the_values(share: float, value: float) -> None:
    assert percentile([float(number) for number in range(100, 0, -1)], share) == value


def test_of_few_values_a_high_percentile_is_the_worst() -> None:
    assert percentile([3.0, 1.0, 2.0], 0.99) == 3.0


def test_there_is_no_percentile_of_nothing() -> None:
    assert percentile([], 0.5) is None
