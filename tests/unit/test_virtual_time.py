"""What the virtual loop promises to the tests that run on it."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.virtual_time import OutOfTime, Stuck, Unheeded, run_virtual


def test_an_hour_passes_at_once() -> None:
    async def sleep_an_hour() -> float:
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time()

    began = time.monotonic()
    assert run_virtual(sleep_an_hour(), limit_s=4000) == 3600
    assert time.monotonic() - began < 60


def test_timers_fire_in_their_order() -> None:
    async def three_sleepers() -> list[int]:
        woken: list[int] = []

        async def sleeper(delay_s: int) -> None:
            await asyncio.sleep(delay_s)
            woken.append(delay_s)

        await asyncio.gather(sleeper(3), sleeper(1), sleeper(2))
        return woken

    assert run_virtual(three_sleepers(), limit_s=10) == [1, 2, 3]


def test_a_deadlock_is_named_and_not_waited_for() -> None:
    async def wait_for_nobody() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Stuck) as caught:
        run_virtual(wait_for_nobody(), limit_s=10)
    assert "wait_for_nobody" in caught.value.__notes__[0]


def test_the_limit_ends_a_run() -> None:
    with pytest.raises(OutOfTime):
        run_virtual(asyncio.sleep(11), limit_s=10)


def test_turning_without_end_at_one_instant_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.virtual_time.TURNS_MAX", 100)

    async def spin() -> None:
        for _ in range(1_000):
            await asyncio.sleep(0)

    with pytest.raises(OutOfTime):
        run_virtual(spin(), limit_s=10)


def test_a_failure_that_nobody_awaits_fails_the_run() -> None:
    async def fail() -> None:
        raise KeyError("lost")

    async def forget_a_task() -> None:
        task = asyncio.create_task(fail())
        await asyncio.sleep(1)
        del task

    with pytest.raises(Unheeded):
        run_virtual(forget_a_task(), limit_s=10)


def test_what_is_left_is_cancelled() -> None:
    ended: list[bool] = []

    async def last() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            ended.append(True)

    async def leave_a_task() -> None:
        asyncio.get_running_loop().create_task(last(), name="last")
        await asyncio.sleep(1)

    run_virtual(leave_a_task(), limit_s=10)
    assert ended == [True]
