"""What only the local runtime promises: a kill leaves nothing behind, and faults befall calls."""

from __future__ import annotations

import asyncio

import pytest

from actors.local_processes import UNDEAD_S, caller_is_dead
from actors.runtime import CallLost, Inside, ProcessDied, Program, Ref
from actors.runtime_local import LocalRuntime
from tests.virtual_time import run_virtual
from undying.protocol.data import JsonObject


class Busy:
    """Has a task of its own, one below that, and one that does not want to die."""

    def __init__(self, seen: list[str], inside: Inside) -> None:
        self._seen = seen
        self._inside = inside
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        self._tasks.append(asyncio.create_task(self._parent()))
        self._tasks.append(asyncio.create_task(self._stubborn()))

    async def stop(self) -> None:
        return None

    async def ping(self) -> str:
        self._seen.append("ping")
        return "pong"

    async def _parent(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._beat())

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(1)
            self._seen.append("beat")

    async def _stubborn(self) -> None:
        for _ in range(5):
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                self._seen.append(f"refuses, dead: {caller_is_dead()}")
        with pytest.raises(ProcessDied):
            await self._inside.runtime.spawn("from the grave")


def runtime_with(seen: list[str], **options: object) -> LocalRuntime:
    def build(settings: JsonObject, inside: Inside) -> Busy:
        return Busy(seen, inside)

    return LocalRuntime({"busy": build}, **options)  # type: ignore[arg-type]


async def spawn_busy(runtime: LocalRuntime) -> Ref:
    return await runtime.spawn("busy", Program("busy"))


def test_a_kill_ends_every_task_that_was_started_from_within() -> None:
    async def scenario() -> list[str]:
        seen: list[str] = []
        runtime = runtime_with(seen)
        await spawn_busy(runtime)
        await asyncio.sleep(2.5)
        await runtime.kill("busy")
        await asyncio.sleep(10)
        assert len(asyncio.all_tasks()) == 1
        assert await runtime.names() == []
        return seen

    assert run_virtual(scenario(), limit_s=20) == ["beat", "beat", *["refuses, dead: True"] * 5]


class Lossy:
    """Loses calls, or answers."""

    def __init__(self, *, before: bool) -> None:
        self._before = before

    async def before_call(self, src: str, dst: str, method: str) -> None:
        if self._before:
            raise CallLost(f"{method} of {dst}")

    async def after_call(self, src: str, dst: str, method: str) -> None:
        if not self._before:
            raise CallLost(f"{method} of {dst}")


@pytest.mark.parametrize(("before", "carried_out"), [(True, []), (False, ["ping"])])
def test_a_lost_call_was_carried_out_or_not(before: bool, carried_out: list[str]) -> None:
    async def scenario() -> list[str]:
        seen: list[str] = []
        runtime = runtime_with(seen, faults=Lossy(before=before))
        ref = await spawn_busy(runtime)
        with pytest.raises(CallLost):
            await ref.call("ping")
        await runtime.kill("busy")
        return seen

    assert [what for what in run_virtual(scenario(), limit_s=20) if what == "ping"] == carried_out


def test_a_crashed_root_comes_back_and_a_killed_one_does_not() -> None:
    async def scenario() -> None:
        runtime = runtime_with([], root_restart_s=2.0)
        root = await runtime.spawn("root", Program("busy"), restarts=True)
        runtime.crash("root")
        with pytest.raises(ProcessDied):
            await root.call("ping")
        await asyncio.sleep(2.1)
        assert await root.call("ping") == "pong"
        await runtime.kill("root")
        await asyncio.sleep(5)
        assert await runtime.names() == []

    run_virtual(scenario(), limit_s=20)


def test_a_frozen_process_does_nothing_and_goes_on_where_it_was() -> None:
    async def scenario() -> list[str]:
        seen: list[str] = []
        runtime = runtime_with(seen)
        ref = await spawn_busy(runtime)
        await asyncio.sleep(1.5)
        runtime.freeze("busy")
        asked = asyncio.create_task(ref.call("ping"))
        await asyncio.sleep(100)
        assert seen == ["beat"]
        assert not asked.done()
        runtime.thaw("busy")
        assert await asked == "pong"
        await asyncio.sleep(1.1)
        await runtime.kill("busy")
        return seen

    assert run_virtual(scenario(), limit_s=200)[:4] == ["beat", "ping", "beat", "beat"]


def test_a_process_that_was_killed_while_frozen_is_dead_to_all_and_acts_for_a_moment_more_when_it_is_thawed() -> None:
    async def scenario() -> list[str]:
        seen: list[str] = []
        runtime = runtime_with(seen)
        ref = await spawn_busy(runtime)
        await asyncio.sleep(1.5)
        runtime.freeze("busy")
        asked = asyncio.create_task(ref.call("ping"))
        await asyncio.sleep(0.1)
        await runtime.kill("busy")
        with pytest.raises(ProcessDied):
            await asked
        assert await runtime.find("busy") is None
        await asyncio.sleep(5)
        assert seen == ["beat"]
        runtime.thaw("busy")
        await asyncio.sleep(UNDEAD_S + 10)
        assert len(asyncio.all_tasks()) == 1
        return seen

    assert run_virtual(scenario(), limit_s=200) == ["beat", "ping", "beat", *["refuses, dead: True"] * 5]
