"""The laws of the pool of spares, over processes that start late, or not, and die while they wait."""

from __future__ import annotations

import asyncio
import itertools
import random
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.runtime import CallLost, Program, ProgramFailed, Ref
from actors.runtime_local import LocalRuntime
from supervision.heartbeat import Heartbeat, until_gone
from supervision.pool import AT_ONCE, SparePool
from tests.virtual_time import run_virtual

SPAWN_S = 0.8
STARTS = st.lists(st.sampled_from(["well", "well", "late", "lost", "failed", "unheard"]), min_size=1, max_size=8)
ACTIONS = st.lists(st.tuples(st.sampled_from(["take", "take", "kill", "wait"]), st.integers(0, 7)), max_size=25)


class HalfDeaf(LocalRuntime):
    """A runtime that now and then starts a process and loses the news of it."""

    unheard: set[str]

    async def spawn(self, name: str, program: Program | None = None, *, restarts: bool = False, node: str = "") -> Ref:
        ref = await super().spawn(name, program, restarts=restarts, node=node)
        if name in self.unheard:
            raise CallLost("the answer to spawn")
        return ref


@dataclass
class Pool:
    """A pool whose processes are watched as the hosts supervisor does."""

    target: int
    starts: list[str]
    starting: int = 0
    starting_max: int = 0
    given: list[str] = field(default_factory=list)
    watching: list[asyncio.Task[None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._starts = itertools.cycle(self.starts)
        self.runtime = HalfDeaf({"host": lambda *_: None}, spawn_s=SPAWN_S, before_spawn=self._before)  # type: ignore[dict-item]
        self.runtime.unheard = set()
        names = (f"process:{number}" for number in itertools.count())
        likely, rng = Program("host"), random.Random(1)
        self.pool = SparePool(self.runtime, self.target, likely, lambda: next(names), self._started, rng, "local")

    async def _before(self, name: str) -> None:
        self.starting += 1
        self.starting_max = max(self.starting_max, self.starting)
        try:
            match next(self._starts):
                case "unheard":
                    self.runtime.unheard.add(name)
                case "late":
                    await asyncio.sleep(7)
                case "lost":
                    raise CallLost("spawn")
                case "failed":
                    raise ProgramFailed("spawn")
        finally:
            self.starting -= 1

    def _started(self, ref: Ref) -> None:
        self.watching.append(asyncio.create_task(self._watch(ref)))

    async def _watch(self, ref: Ref) -> None:
        await until_gone(ref, self.runtime, Heartbeat())
        self.pool.discard(ref.name)

    async def take(self) -> None:
        self.given.append((await self.pool.take()).name)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 3), STARTS.filter(lambda starts: "well" in starts or "late" in starts), ACTIONS)
def test_who_waits_gets_a_process_of_their_own_and_the_pool_is_full_again(
    target: int, starts: list[str], actions: list[tuple[str, int]]
) -> None:
    async def scenario() -> None:
        pool = Pool(target, starts)
        pool.pool.refill()
        taking: list[asyncio.Task[None]] = []
        for action, number in actions:
            if action == "take":
                taking.append(asyncio.create_task(pool.take()))
            elif action == "kill" and pool.pool.names:
                await pool.runtime.kill(pool.pool.names[number % len(pool.pool.names)])
            await asyncio.sleep((0, 0.1, 1, 5)[number % 4])
            assert len(pool.pool.names) <= target + AT_ONCE
        await asyncio.gather(*taking)
        for name in pool.pool.names:
            await pool.runtime.kill(name)
        await asyncio.sleep(100)
        assert len(pool.given) == len(set(pool.given)) == len(taking)
        assert len(pool.pool.names) == target
        assert pool.starting_max <= AT_ONCE
        living = set(await pool.runtime.names())
        assert set(pool.pool.names) <= living, "a spare that is dead"
        assert living <= {*pool.pool.names, *pool.given}, "a process that nobody knows"
        pool.pool.close()
        for task in pool.watching:
            task.cancel()

    run_virtual(scenario(), limit_s=10_000)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 3), STARTS, st.floats(0.0, 10.0))
def test_a_pool_that_is_closed_leaves_nothing_over_that_was_just_starting(
    target: int, starts: list[str], after_s: float
) -> None:
    async def scenario() -> None:
        pool = Pool(target, starts)
        pool.pool.refill()
        await asyncio.sleep(after_s)
        pool.pool.close()
        await asyncio.sleep(100)
        assert await pool.runtime.names() == pool.pool.names
        for task in pool.watching:
            task.cancel()

    run_virtual(scenario(), limit_s=10_000)
