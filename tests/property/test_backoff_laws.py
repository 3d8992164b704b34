"""Laws of backoff, for any schedule and any attempt."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from undying.resilience.backoff import Backoff

schedules = st.builds(
    Backoff,
    base_s=st.floats(0.0, 100.0),
    factor=st.floats(1.0, 10.0),
    cap_s=st.floats(0.0, 1000.0),
    jitter=st.floats(0.0, 1.0),
    full_jitter=st.booleans(),
)


@given(schedules, st.integers(0, 100_000), st.integers())
def test_a_delay_is_never_negative_and_never_above_the_cap(backoff: Backoff, attempt: int, seed: int) -> None:
    assert 0.0 <= backoff.delay(attempt, random.Random(seed)) <= backoff.cap_s


@given(schedules, st.integers(0, 1000), st.integers())
def test_a_delay_is_within_the_jitter_of_the_nominal_delay(backoff: Backoff, attempt: int, seed: int) -> None:
    delay, nominal = backoff.delay(attempt, random.Random(seed)), backoff.nominal(attempt)
    lowest = 0.0 if backoff.full_jitter else nominal * (1.0 - backoff.jitter)
    assert lowest - 1e-9 <= delay <= nominal * (1.0 + backoff.jitter) + 1e-9


@given(schedules, st.integers(0, 1000))
def test_the_nominal_delay_never_shrinks(backoff: Backoff, attempt: int) -> None:
    assert backoff.nominal(attempt) <= backoff.nominal(attempt + 1)


def test_the_defaults_double_from_one_second_to_thirty() -> None:
    assert [Backoff().nominal(attempt) for attempt in range(7)] == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


def test_delays_at_the_cap_stay_spread() -> None:
    rng = random.Random(1)
    assert len({Backoff().delay(50, rng) for _ in range(100)}) == 100


@pytest.mark.parametrize(
    "bad", [{"base_s": -1.0}, {"factor": 0.5}, {"cap_s": -1.0}, {"jitter": 1.5}, {"jitter": -0.1}, {"base_s": float("nan")}]
)
def test_a_schedule_that_makes_no_sense_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="not a backoff"):
        Backoff(**bad)  # type: ignore[arg-type]


def test_attempts_count_from_zero() -> None:
    with pytest.raises(ValueError, match="count from 0"):
        Backoff().delay(-1, random.Random(0))
