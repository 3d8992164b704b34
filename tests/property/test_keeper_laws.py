"""The laws of keeping a fixed set of children, whoever of them ends, and when."""

from __future__ import annotations

import asyncio
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.runtime import Inside, Program, Ref
from actors.runtime_local import LocalRuntime
from supervision.keeper import Keeper
from supervision.spec import ChildSpec, Intensity, Siblings, Strategy
from tests.virtual_time import run_virtual
from undying.protocol.data import JsonObject

NAMES = "abcd"
STRATEGIES = st.sampled_from(list(Strategy))
KILLS = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from([0.0, 0.01, 0.2, 1.0, 4.0])), max_size=20)
"""Who is killed, and seconds after that."""
MANY = Intensity(1_000, 60.0)
UP_S = 0.05


class Child:
    """Is there; notes its start and its stop."""

    def __init__(self, kept: Kept, inside: Inside) -> None:
        self._kept = kept
        self._name = inside.name

    async def start(self) -> None:
        await asyncio.sleep(UP_S)
        self._kept.started.append(self._name)

    async def stop(self) -> None:
        self._kept.stopped.append(self._name)


class Kept:
    """Four children and their keeper."""

    def __init__(self, strategy: Strategy, intensity: Intensity) -> None:
        self.started: list[str] = []
        self.stopped: list[str] = []
        self.runtime = LocalRuntime({"child": lambda _, inside: Child(self, inside)})
        specs = [ChildSpec(name, Program("child"), intensity=intensity) for name in NAMES]
        siblings, rng = Siblings(specs, strategy), random.Random(1)
        self.keeper = Keeper(siblings, self.runtime, self._start, self._find, rng, asyncio.get_running_loop().time)

    async def up(self) -> None:
        self.keeper.begin()
        await self.keeper.all_up()

    async def _start(self, spec: ChildSpec) -> Ref:
        return await self.runtime.spawn(spec.id, spec.program)

    async def _find(self, spec: ChildSpec) -> Ref | None:
        return await self.runtime.find(spec.id)

    def rows(self) -> dict[object, JsonObject]:
        return {row["id"]: row for row in self.keeper.rows("root", "")}

    def pids(self) -> dict[object, object]:
        return {name: row["pid"] for name, row in self.rows().items()}


@settings(max_examples=60, deadline=None)
@given(STRATEGIES, st.lists(st.sampled_from(NAMES), max_size=6))
def test_an_end_takes_along_whom_the_strategy_names_and_nobody_else(strategy: Strategy, kills: list[str]) -> None:
    async def scenario() -> None:
        kept = Kept(strategy, MANY)
        await kept.up()
        for victim in kills:
            before = kept.pids()
            await kept.runtime.kill(victim)
            await asyncio.sleep(10)
            after = kept.pids()
            place = NAMES.index(victim)
            along = {Strategy.ONE_FOR_ONE: victim, Strategy.ONE_FOR_ALL: NAMES, Strategy.REST_FOR_ONE: NAMES[place:]}
            assert {name for name in after if after[name] != before[name]} == set(along[strategy])
            assert {row["state"] for row in kept.rows().values()} == {"live"}
        await kept.keeper.stop()

    run_virtual(scenario(), limit_s=1_000)


@settings(max_examples=100, deadline=None)
@given(STRATEGIES, KILLS)
def test_whoever_ends_and_whenever_in_peace_all_are_back_and_a_stop_ends_them_in_reverse_order(
    strategy: Strategy, kills: list[tuple[str, float]]
) -> None:
    async def scenario() -> None:
        kept = Kept(strategy, MANY)
        await kept.up()
        for victim, pause_s in kills:
            await kept.runtime.kill(victim)
            await asyncio.sleep(pause_s)
        await asyncio.sleep(60)
        assert {row["state"] for row in kept.rows().values()} == {"live"}
        assert sorted(await kept.runtime.names()) == list(NAMES)
        assert not kept.keeper.escalated.done()
        restarts = sum(int(str(row["restarts"])) for row in kept.rows().values())
        assert restarts >= len(kept.started) - len(NAMES), "a start that no end explains"
        await kept.keeper.stop()
        assert kept.stopped == list(reversed(NAMES))
        assert await kept.runtime.names() == []

    run_virtual(scenario(), limit_s=1_000)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 4), KILLS)
def test_the_one_above_is_told_once_and_only_when_one_child_ended_too_often(
    restarts: int, kills: list[tuple[str, float]]
) -> None:
    async def scenario() -> None:
        kept = Kept(Strategy.ONE_FOR_ONE, Intensity(restarts, 1_000.0))
        await kept.up()
        for victim, pause_s in kills:
            await kept.runtime.kill(victim)
            await asyncio.sleep(pause_s + 10)
        endings = {name: sum(victim == name for victim, _ in kills) for name in NAMES}
        failed = {name for name, row in kept.rows().items() if row["state"] == "failed"}
        assert failed == {name for name, count in endings.items() if count > restarts}
        assert kept.keeper.escalated.done() == bool(failed)
        if failed:
            assert kept.keeper.escalated.result().partition(":")[0] in failed
        for name in failed:
            assert kept.started.count(str(name)) == restarts + 1, "started again after it was given up"
        await kept.keeper.stop()

    run_virtual(scenario(), limit_s=10_000)
