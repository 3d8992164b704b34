"""What every runtime promises (`actors.runtime`), tried on the local one and on Ray."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from actors.runtime import NameTaken, ProcessDied, Program, ProgramFailed, Runtime, RuntimeFault
from actors.runtime_local import LocalRuntime
from tests.contract.runtime_programs import WIRING
from undying.protocol.errors import Code, UndyingError

COUNTER = Program("counter")
PATIENCE_S = 20.0


@pytest.fixture(params=["local", pytest.param("ray", marks=pytest.mark.ray)])
async def runtime(request: pytest.FixtureRequest) -> AsyncIterator[Runtime]:
    runtime: Runtime = LocalRuntime(WIRING) if request.param == "local" else request.getfixturevalue("ray_runtime")
    yield runtime
    for name in await runtime.names():
        await runtime.kill(name)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await condition():  # noqa: ASYNC110 - what is waited for happens in another process
            await asyncio.sleep(0.01)


async def test_a_process_starts_empty_and_is_given_a_program(runtime: Runtime) -> None:
    ref = await runtime.spawn("a")
    assert (await ref.info()).program is None
    info = await ref.run(COUNTER)
    assert (info.name, info.program) == ("a", "counter")
    assert await ref.call("add") == 1


async def test_a_process_can_start_with_its_program_and_settings(runtime: Runtime) -> None:
    ref = await runtime.spawn("a", Program("counter built slowly", {"step": 5}))
    assert [await ref.call("add"), await ref.call("add")] == [5, 10]


async def test_an_empty_process_answers_no_call(runtime: Runtime) -> None:
    ref = await runtime.spawn("a")
    with pytest.raises(ProgramFailed):
        await ref.call("add")


async def test_a_process_runs_one_program_in_its_life(runtime: Runtime) -> None:
    ref = await runtime.spawn("a", COUNTER)
    with pytest.raises(ProgramFailed):
        await ref.run(COUNTER)
    assert await ref.call("add") == 1


async def test_a_name_belongs_to_one_living_process(runtime: Runtime) -> None:
    await runtime.spawn("a")
    with pytest.raises(NameTaken):
        await runtime.spawn("a")


async def test_a_dead_process_leaves_its_name_and_old_refs_do_not_reach_the_next_one(runtime: Runtime) -> None:
    old = await runtime.spawn("a", COUNTER)
    await runtime.kill("a")
    new = await runtime.spawn("a", COUNTER)
    assert await new.call("add") == 1
    with pytest.raises(ProcessDied):
        await old.call("add")


async def test_processes_are_found_by_name(runtime: Runtime) -> None:
    await runtime.spawn("a", COUNTER)
    found = await runtime.find("a")
    assert found is not None
    assert (found.name, await found.call("add")) == ("a", 1)
    assert await runtime.find("b") is None
    assert await runtime.names() == ["a"]


async def test_a_program_knows_its_process_and_reaches_others(runtime: Runtime) -> None:
    a, b = await asyncio.gather(runtime.spawn("a", COUNTER), runtime.spawn("b", COUNTER))
    assert await a.call("whoami") == ["a", (await a.info()).node]
    assert await a.call("call_other", "b") == 1
    assert await b.call("add") == 2


async def test_a_failure_of_the_taxonomy_arrives_whole(runtime: Runtime) -> None:
    ref = await runtime.spawn("a", COUNTER)
    with pytest.raises(UndyingError) as caught:
        await ref.call("refuse")
    failure = caught.value.failure
    assert (failure.code, failure.message, failure.context) == (Code.NOT_FOUND, "no such thing", {"id": "x", "numbers": [1, 2]})


@pytest.mark.parametrize(("method", "told"), [("break_down", "a defect"), ("no_such", "no_such"), ("_hidden", "_hidden")])
async def test_a_defect_arrives_as_text_and_the_process_lives_on(runtime: Runtime, method: str, told: str) -> None:
    ref = await runtime.spawn("a", COUNTER)
    with pytest.raises(ProgramFailed, match=told):
        await ref.call(method)
    assert await ref.call("add") == 1


async def test_a_start_that_fails_says_why_and_ends_the_process(runtime: Runtime) -> None:
    ref = await runtime.spawn("a")
    with pytest.raises(ProgramFailed, match="the port is taken"):
        await ref.run(Program("faulty"))
    async with asyncio.timeout(PATIENCE_S):
        assert (await ref.watch()).reason in ("failed", "killed")
    with pytest.raises(ProgramFailed, match="the port is taken"):
        await runtime.spawn("b", Program("faulty"))


async def test_a_program_that_nobody_wired_does_not_start(runtime: Runtime) -> None:
    with pytest.raises(ProgramFailed, match="nonsense"):
        await runtime.spawn("a", Program("nonsense"))


async def test_processes_share_no_object(runtime: Runtime) -> None:
    ref = await runtime.spawn("a", COUNTER)
    mine: list[Any] = [1]
    answer = await ref.call("keep", mine)
    answer.append("changed")
    assert (mine, await ref.call("kept")) == ([1], [1, "kept"])


async def test_killing_fails_the_calls_under_way_and_ends_the_watch(runtime: Runtime) -> None:
    ref = await runtime.spawn("a", COUNTER)
    call = asyncio.create_task(ref.call("wait_for_ever"))
    watch = asyncio.create_task(ref.watch())
    await ref.call("add")
    await runtime.kill("a")
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(ProcessDied):
            await call
        assert (await watch).reason == "killed"
    assert await runtime.find("a") is None


async def test_a_process_that_is_gone_is_seen_gone_by_who_comes_late(runtime: Runtime) -> None:
    ref = await runtime.spawn("a", COUNTER)
    await runtime.kill("a")
    async with asyncio.timeout(PATIENCE_S):
        assert (await ref.watch()).reason == "killed"
    await runtime.kill("a")


async def test_stop_ends_the_process_after_its_answer_whatever_waits(runtime: Runtime) -> None:
    ref = await runtime.spawn("a", COUNTER)
    poll = asyncio.create_task(ref.call("wait_for_ever"))
    watch = asyncio.create_task(ref.watch())
    await ref.call("add")
    await ref.call("stop")
    async with asyncio.timeout(PATIENCE_S):
        assert (await watch).reason == "stopped"
        with pytest.raises(ProcessDied):
            await poll

    async def gone() -> bool:
        return await runtime.find("a") is None

    await until(gone)


async def test_a_caller_who_goes_away_does_not_undo_the_call(runtime: Runtime) -> None:
    ref = await runtime.spawn("a", COUNTER)
    call = asyncio.create_task(ref.call("add_when_opened"))
    await ref.call("add")  # calls are begun in their order, so the other one is under way now
    call.cancel()
    await ref.call("open")

    async def counted() -> bool:
        return int(await ref.call("add")) >= 3

    await until(counted)


async def test_a_process_outlives_the_one_that_spawned_it(runtime: Runtime) -> None:
    parent = await runtime.spawn("parent", COUNTER)
    await parent.call("spawn_other", "child")
    await runtime.kill("parent")
    child = await runtime.find("child")
    assert child is not None
    assert await child.call("add") == 1


@pytest.mark.ray
async def test_ray_reports_kill_9_as_a_death(ray_runtime: Runtime) -> None:
    ref = await ray_runtime.spawn("victim", COUNTER)
    watch = asyncio.create_task(ref.watch())
    with pytest.raises(ProcessDied):
        await ref.call("kill_yourself")
    async with asyncio.timeout(PATIENCE_S):
        assert (await watch).reason == "killed"
    assert await ray_runtime.find("victim") is None


@pytest.mark.ray
async def test_ray_brings_the_root_back_with_its_program(ray_runtime: Runtime) -> None:
    root = await ray_runtime.spawn("the root", COUNTER, restarts=True)
    first = (await root.info()).pid
    with pytest.raises(RuntimeFault):
        await root.call("kill_yourself")

    async def back() -> bool:
        try:
            return (await root.info()).pid != first and await root.call("add") == 1
        except RuntimeFault:  # calls are lost while it is away
            return False

    await until(back)
    await root.call("stop")

    async def gone() -> bool:
        return await ray_runtime.find("the root") is None

    await until(gone)
