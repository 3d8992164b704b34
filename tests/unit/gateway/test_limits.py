"""Token buckets under a clock of our own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.limits import Limits, TokenBucket


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_a_burst_passes_and_the_next_op_is_told_when_to_come_again() -> None:
    clock = Clock()
    bucket = TokenBucket(10, 3, clock)
    assert [bucket.take() for _ in range(4)] == [0, 0, 0, 100]
    clock.now_s = 0.05
    assert bucket.take() == 50
    clock.now_s = 0.1
    assert [bucket.take(), bucket.take()] == [0, 100]


def test_a_batch_above_the_burst_passes_and_is_paid_for_afterwards() -> None:
    clock = Clock()
    bucket = TokenBucket(10, 5, clock)
    assert bucket.take(25) == 0
    assert bucket.take() == 2100
    clock.now_s = 2.1
    assert bucket.take() == 0


def test_a_rate_of_nought_is_no_limit() -> None:
    bucket, limits = TokenBucket(0, 1, Clock()), Limits(0, 1, Clock())
    assert [bucket.take() for _ in range(100)] == [0] * 100
    assert [limits.take("ann") for _ in range(100)] == [0] * 100
    assert len(limits) == 0


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(1, 10)), max_size=50))
def test_over_any_time_no_more_passes_than_the_rate_the_burst_and_one_batch(steps: list[tuple[float, int]]) -> None:
    clock = Clock()
    bucket = TokenBucket(4, 6, clock)
    passed = 0
    for wait_s, count in steps:
        clock.now_s += wait_s
        if bucket.take(count) == 0:
            passed += count
        assert passed <= 4 * clock.now_s + 6 + 10 + 1e-6


@given(st.integers(1, 100), st.integers(1, 200), st.integers(1, 50))
def test_who_waits_as_long_as_told_gets_through(per_s: int, count: int, burst: int) -> None:
    clock = Clock()
    bucket = TokenBucket(per_s, burst, clock)
    while (told_ms := bucket.take(count)) == 0:
        pass
    clock.now_s += told_ms / 1000 + 1e-6
    assert bucket.take() == 0


def test_users_do_not_pay_for_each_other() -> None:
    limits = Limits(1, 1, Clock())
    assert (limits.take("ann"), limits.take("ann"), limits.take("bob")) == (0, 1000, 0)


def test_buckets_that_are_full_again_are_swept_and_the_others_kept() -> None:
    clock = Clock()
    limits = Limits(1, 1, clock)
    limits.take("ann")
    clock.now_s = 0.5
    limits.take("bob")
    clock.now_s = 1.2
    limits.sweep()
    assert len(limits) == 1
    assert limits.take("bob") > 0


def test_past_the_bound_the_bucket_used_longest_ago_is_forgotten() -> None:
    limits = Limits(1, 1, Clock(), keys_max=2)
    for user in ("ann", "bob", "ann", "cid"):
        limits.take(user)
    assert len(limits) == 2
    assert limits.take("ann") > 0
    assert limits.take("bob") == 0


def test_many_strangers_are_swept_without_being_asked() -> None:
    clock = Clock()
    limits = Limits(1, 1, clock)
    for number in range(3000):
        clock.now_s += 1
        limits.take(str(number))
    assert len(limits) <= 1000


@pytest.mark.parametrize(("per_s", "burst"), [(-1, 1), (1, 0)])
def test_a_setting_that_makes_no_sense_is_refused_at_once(per_s: float, burst: float) -> None:
    with pytest.raises(ValueError, match="rate"):
        Limits(per_s, burst, Clock())
