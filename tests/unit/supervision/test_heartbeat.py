"""Watching closely: what hangs is killed, what is slow, unreachable for a moment, or well is not."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from actors.local_processes import UNDEAD_S
from actors.runtime import CallLost, Exit, Inside, ProcessInfo, Program, Ref
from actors.runtime_local import LocalRuntime
from supervision.heartbeat import HUNG, MEMORY, Heartbeat, until_gone
from tests.virtual_time import run_virtual
from undying.protocol.data import JsonObject

HEARTBEAT = Heartbeat(every_s=1.0, silent_s=5.0)


class Idle:
    """Is there."""

    def __init__(self, _settings: JsonObject, _inside: Inside) -> None:
        pass

    async def start(self) -> None:
        return None

    async def stop(self) -> None:
        return None


class Watcher(Idle):
    """Watches `it` from within a process of its own."""

    def __init__(self, _settings: JsonObject, inside: Inside) -> None:
        self._runtime = inside.runtime

    async def start(self) -> None:
        ref = await self._runtime.find("it")
        assert ref is not None
        self.watching = asyncio.create_task(until_gone(ref, self._runtime, HEARTBEAT))


async def watched(runtime: LocalRuntime) -> tuple[Ref, asyncio.Task[Exit]]:
    """Start a process and watch it."""
    ref = await runtime.spawn("it")
    return ref, asyncio.create_task(until_gone(ref, runtime, HEARTBEAT))


def now() -> float:
    return asyncio.get_running_loop().time()


def test_a_process_that_is_well_is_left_alone() -> None:
    async def scenario() -> None:
        runtime = LocalRuntime({"idle": Idle})
        _, watching = await watched(runtime)
        await asyncio.sleep(1_000)
        assert not watching.done()
        watching.cancel()

    run_virtual(scenario(), limit_s=2_000)


def test_a_death_is_told_at_once_and_as_it_was() -> None:
    async def scenario() -> None:
        runtime = LocalRuntime({"idle": Idle})
        _, watching = await watched(runtime)
        await asyncio.sleep(10.5)
        await runtime.kill("it")
        assert await watching == Exit("killed")
        assert now() == 10.5

    run_virtual(scenario(), limit_s=100)


def test_a_process_that_hangs_is_killed_within_the_two_times() -> None:
    async def scenario() -> None:
        runtime = LocalRuntime({"idle": Idle})
        _, watching = await watched(runtime)
        await asyncio.sleep(10.5)
        runtime.freeze("it")
        assert (await watching).reason == HUNG
        assert now() - 10.5 <= HEARTBEAT.every_s + HEARTBEAT.silent_s
        assert await runtime.find("it") is None
        runtime.thaw("it")
        await asyncio.sleep(UNDEAD_S)

    run_virtual(scenario(), limit_s=100)


def test_a_process_that_stood_still_for_less_than_that_is_left_alone() -> None:
    async def scenario() -> None:
        runtime = LocalRuntime({"idle": Idle})
        _, watching = await watched(runtime)
        for _ in range(20):
            runtime.freeze("it")
            await asyncio.sleep(4.9)
            runtime.thaw("it")
            await asyncio.sleep(1.1)
        assert not watching.done()
        watching.cancel()

    run_virtual(scenario(), limit_s=1_000)


def test_a_pause_of_the_watcher_is_not_taken_for_one_of_the_watched() -> None:
    async def scenario() -> None:
        runtime = LocalRuntime({"watcher": Watcher})
        await runtime.spawn("it")
        await runtime.spawn("watcher", Program("watcher"))
        for _ in range(50):
            await asyncio.sleep(3.3)
            runtime.freeze("watcher")
            await asyncio.sleep(60)
            runtime.thaw("watcher")
        assert await runtime.find("it") is not None
        await runtime.kill("watcher")

    run_virtual(scenario(), limit_s=10_000)


def test_a_question_that_gets_lost_is_asked_again() -> None:
    class Lossy:
        """A ref whose every other question gets lost."""

        def __init__(self, inner: Ref) -> None:
            self._inner = inner
            self._asked = 0
            self.name = inner.name

        async def info(self) -> object:
            self._asked += 1
            if self._asked % 2:
                raise CallLost("lost")
            return await self._inner.info()

        async def watch(self) -> Exit:
            return await self._inner.watch()

    async def scenario() -> None:
        runtime = LocalRuntime({"idle": Idle})
        lossy: object = Lossy(await runtime.spawn("it"))
        watching = asyncio.create_task(until_gone(lossy, runtime, HEARTBEAT))  # type: ignore[arg-type]
        await asyncio.sleep(100)
        assert not watching.done()
        watching.cancel()

    run_virtual(scenario(), limit_s=1_000)


def test_a_heartbeat_without_a_time_is_refused() -> None:
    with pytest.raises(ValueError, match="not a heartbeat"):
        Heartbeat(silent_s=0)


def test_a_process_that_holds_more_memory_than_it_may_is_killed_at_the_next_look() -> None:
    async def scenario() -> None:
        runtime = LocalRuntime({"idle": Idle})
        ref = Greedy(await runtime.spawn("it"))
        watching = asyncio.create_task(until_gone(ref, runtime, Heartbeat(1.0, 5.0, memory_bytes_max=100 << 20)))
        await asyncio.sleep(10)
        assert not watching.done()
        ref.holds = 200 << 20
        begun = now()
        exit_ = await watching
        assert exit_ == Exit(MEMORY, "held 200 MiB, and may hold 100")
        assert now() - begun <= 1.0 + UNDEAD_S

    run_virtual(scenario(), limit_s=60)


class Greedy:
    """A way to a process, with what the process says about its memory."""

    def __init__(self, ref: Ref) -> None:
        self._ref = ref
        self.name = ref.name
        self.holds = 50 << 20

    async def call(self, method: str, *args: object) -> object:
        return await self._ref.call(method, *args)

    async def run(self, program: Program) -> ProcessInfo:
        return await self._ref.run(program)

    async def prepare(self, program: Program) -> None:
        await self._ref.prepare(program)

    async def watch(self) -> Exit:
        return await self._ref.watch()

    async def info(self) -> ProcessInfo:
        return replace(await self._ref.info(), memory_bytes=self.holds)
