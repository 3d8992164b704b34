"""Keeping a store up: what ends or hangs is started again, what answers now and then is left alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from persistence.embedded import EmbeddedStoreError
from persistence.embedded_keeper import LOOK_S, RETRY_S, keep_up
from tests.virtual_time import run_virtual

HANG_S = 5.0


@dataclass
class PretendedStore:
    """A store that does as it is told, and a diary."""

    pid: int | None = 1
    well: bool = True
    fails: int = 0
    diary: list[str] = field(default_factory=list)

    async def start(self) -> str:
        if self.fails:
            self.fails -= 1
            self.diary.append("did not start")
            raise EmbeddedStoreError("no")
        self.diary.append("started")
        self.pid, self.well = 2, True
        return "unix:///here"

    async def answers(self) -> bool:
        if not self.well:
            await asyncio.sleep(1.0)
        return self.well

    def kill(self) -> None:
        self.diary.append("killed")
        self.pid = None


def after(store: PretendedStore, for_s: float, then: Callable[[], None] = lambda: None) -> list[str]:
    """Let time pass with the store, do something, let as much time pass again; returns the diary."""

    async def scenario() -> None:
        keeping = asyncio.create_task(keep_up(store, HANG_S))
        await asyncio.sleep(for_s)
        then()
        await asyncio.sleep(for_s)
        assert not keeping.done()
        keeping.cancel()

    run_virtual(scenario(), limit_s=10_000)
    return store.diary


def test_a_store_that_answers_is_left_alone() -> None:
    assert after(PretendedStore(), 1_000) == []


def test_a_store_that_ends_is_started_again_at_once() -> None:
    store = PretendedStore()
    assert after(store, 3 * LOOK_S, lambda: setattr(store, "pid", None)) == ["started"]


def test_a_store_that_does_not_start_is_tried_again() -> None:
    store = PretendedStore(pid=None, fails=2)
    assert after(store, 3 * RETRY_S) == ["did not start", "did not start", "started"]


def test_a_store_that_hangs_is_killed_and_started_again() -> None:
    store = PretendedStore()

    def hang() -> None:
        store.well = False

    assert after(store, HANG_S * 1.5, hang) == ["killed", "started"]


def test_a_store_that_is_slow_for_a_while_is_left_alone() -> None:
    store = PretendedStore()

    def hang_for_a_while() -> None:
        store.well = False
        asyncio.get_running_loop().call_later(HANG_S * 0.7, lambda: setattr(store, "well", True))

    assert after(store, 100, hang_for_a_while) == []
