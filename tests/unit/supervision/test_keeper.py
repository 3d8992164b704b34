"""The keeper of fixed children, apart from what those children are."""

from __future__ import annotations

import asyncio
import random

from actors.runtime import Inside, Program, ProgramFailed, Ref
from actors.runtime_local import LocalRuntime
from supervision.chronicle import Ending
from supervision.keeper import AGAIN_S, LATER_S, Keeper
from supervision.spec import ChildSpec, Intensity, Siblings, Strategy
from tests.virtual_time import run_virtual
from undying.protocol.data import JsonObject


class Idle:
    """Is there; takes `stop_s` to stop."""

    def __init__(self, stopped: list[str], settings: JsonObject, inside: Inside) -> None:
        self._stopped = stopped
        self._stop_s = float(str(settings.get("stop_s", 0)))
        self._name = inside.name

    async def start(self) -> None:
        return None

    async def stop(self) -> None:
        await asyncio.sleep(self._stop_s)
        self._stopped.append(self._name)


class Kept:
    """Three idle children `a`, `b` and `c` and their keeper."""

    def __init__(self, strategy: Strategy, intensity: Intensity | None = None, slow: str = "", unneeded: str = "") -> None:
        self.unstartable: set[str] = set()
        self.told: list[Ending] = []
        self._unneeded = unneeded
        self.stopped: list[str] = []
        self.runtime = LocalRuntime({"idle": lambda settings, inside: Idle(self.stopped, settings, inside)})
        self.keeper = Keeper(
            Siblings([self._spec(name, intensity or Intensity(), slow) for name in "abc"], strategy),
            self.runtime,
            self._spawn,
            self._find,
            random.Random(1),
            asyncio.get_running_loop().time,
            self.told.append,
        )

    def _spec(self, name: str, intensity: Intensity, slow: str) -> ChildSpec:
        program = Program("idle", {"stop_s": 99 if name == slow else 0})
        return ChildSpec(name, program, shutdown_s=1.0, intensity=intensity, needed=name != self._unneeded)

    async def _spawn(self, spec: ChildSpec) -> Ref:
        if spec.id in self.unstartable:
            raise ProgramFailed(f"{spec.id} can't start")
        return await self.runtime.spawn(spec.id, spec.program)

    async def _find(self, spec: ChildSpec) -> Ref | None:
        return await self.runtime.find(spec.id)

    def pids(self) -> dict[str, int]:
        return {name: child.info.pid for name, child in self.keeper.children.items() if child.info}


def changed(strategy: Strategy) -> set[str]:
    """Kill `b` and return who has another process afterwards."""

    async def scenario() -> set[str]:
        kept = Kept(strategy)
        kept.keeper.begin()
        await kept.keeper.all_up()
        before = kept.pids()
        await kept.runtime.kill("b")
        await asyncio.sleep(1)
        after = kept.pids()
        assert after.keys() == before.keys()
        return {name for name in after if after[name] != before[name]}

    return run_virtual(scenario(), limit_s=10)


def test_one_for_one_restarts_nobody_else() -> None:
    assert changed(Strategy.ONE_FOR_ONE) == {"b"}


def test_one_for_all_restarts_everybody() -> None:
    assert changed(Strategy.ONE_FOR_ALL) == {"a", "b", "c"}


def test_rest_for_one_restarts_those_that_came_after() -> None:
    assert changed(Strategy.REST_FOR_ONE) == {"b", "c"}


def test_stop_goes_in_reverse_order_and_kills_who_takes_too_long() -> None:
    async def scenario() -> None:
        kept = Kept(Strategy.ONE_FOR_ONE, slow="b")
        kept.keeper.begin()
        await kept.keeper.all_up()
        await kept.keeper.stop()
        assert kept.stopped == ["c", "a"]
        assert asyncio.get_running_loop().time() == 1.0
        assert await kept.runtime.names() == []

    run_virtual(scenario(), limit_s=10)


def test_past_the_intensity_the_one_above_is_told() -> None:
    async def scenario() -> str:
        kept = Kept(Strategy.ONE_FOR_ONE, Intensity(restarts=2, within_s=60))
        kept.keeper.begin()
        await kept.keeper.all_up()
        for _ in range(3):
            await kept.runtime.kill("a")
            await asyncio.sleep(1)
        return await kept.keeper.escalated

    assert run_virtual(scenario(), limit_s=10).startswith("a: 3 endings in 60 s")


def test_a_child_that_nobody_needs_starts_when_the_others_are_up_and_holds_up_nobody_when_it_is_replaced() -> None:
    async def scenario() -> None:
        kept = Kept(Strategy.ONE_FOR_ONE, Intensity(restarts=0, within_s=60), unneeded="a")
        kept.unstartable.add("c")
        kept.keeper.begin()
        await asyncio.sleep(1)
        assert await kept.runtime.names() == ["b"]
        await kept.keeper.all_up()
        assert kept.keeper.escalated.result().startswith("c: ")
        await asyncio.sleep(LATER_S + 1)
        assert await kept.runtime.names() == ["b"]

        well = Kept(Strategy.ONE_FOR_ONE, Intensity(restarts=0, within_s=60), unneeded="a")
        well.unstartable.add("a")
        well.keeper.begin()
        await well.keeper.all_up()
        await asyncio.sleep(LATER_S + 1)
        await well.keeper.replace("a")
        assert not well.keeper.escalated.done()

    run_virtual(scenario(), limit_s=10)


def test_a_child_that_nobody_needs_is_tried_again_after_a_while_when_it_failed() -> None:
    async def scenario() -> None:
        kept = Kept(Strategy.ONE_FOR_ONE, Intensity(restarts=0, within_s=60), unneeded="a")
        kept.unstartable.add("a")
        kept.keeper.begin()
        await kept.keeper.all_up()
        await asyncio.sleep(LATER_S + 1)
        row = kept.keeper.rows("root", "the root starts over")[0]
        assert (row["state"], row["reason"]) == ("failed", "1 endings in 60 s, the last one: failed a can't start")
        assert row["way_out"] == f"nothing else needs it; it is tried again after {AGAIN_S:g} s"
        kept.unstartable.clear()
        await asyncio.sleep(AGAIN_S)
        assert [row["state"] for row in kept.keeper.rows("root", "")] == ["live"] * 3
        assert [(ending.id, ending.decided) for ending in kept.told] == [("a", "failed")]

    run_virtual(scenario(), limit_s=100)


def test_a_child_that_is_needed_and_failed_says_what_the_one_above_does() -> None:
    async def scenario() -> None:
        kept = Kept(Strategy.ONE_FOR_ONE, Intensity(restarts=0, within_s=60))
        kept.keeper.begin()
        await kept.keeper.all_up()
        await kept.runtime.kill("b")
        await asyncio.sleep(1)
        assert [row.get("way_out") for row in kept.keeper.rows("root", "wait")] == [None, "wait", None]

    run_virtual(scenario(), limit_s=10)
