"""The laws of watching closely, over processes that stand still for any time, any number of times."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.local_processes import UNDEAD_S
from actors.runtime import Exit
from actors.runtime_local import LocalRuntime
from supervision.heartbeat import HUNG, Heartbeat, until_gone
from tests.virtual_time import run_virtual

EVERY_S, SILENT_S = 1.0, 5.0
HEARTBEAT = Heartbeat(EVERY_S, SILENT_S)
PAUSES = st.lists(st.tuples(st.floats(0.01, 7.0), st.floats(0.01, 9.0)), min_size=1, max_size=8)
"""For each time that a process stands still: seconds before it, and seconds that it lasts."""


def watched(pauses: list[tuple[float, float]]) -> tuple[Exit | None, float, float]:
    """Return how a process with such pauses ended, if it did, when, and when the pause began in which it did."""

    async def scenario() -> tuple[Exit | None, float, float]:
        loop = asyncio.get_running_loop()
        runtime = LocalRuntime({})
        ref = await runtime.spawn("it")
        watching = asyncio.create_task(until_gone(ref, runtime, HEARTBEAT))
        began_s = ended_s = 0.0
        watching.add_done_callback(lambda _: ended.append(loop.time()))
        ended: list[float] = []
        for well_s, still_s in pauses:
            await asyncio.sleep(well_s)
            if watching.done():  # in the very instant in which the last pause ended
                break
            runtime.freeze("it")
            began_s = loop.time()
            await asyncio.wait({watching}, timeout=still_s)
            runtime.thaw("it")
            if watching.done():
                break
        await asyncio.sleep(UNDEAD_S + SILENT_S)
        exit_ = watching.result() if watching.done() else None
        ended_s = ended[0] if ended else 0.0
        watching.cancel()
        return exit_, ended_s, began_s

    return run_virtual(scenario(), limit_s=1_000)


@settings(max_examples=200, deadline=None)
@given(PAUSES)
def test_who_answers_within_the_time_is_never_killed_and_who_does_not_is_within_both_times(
    pauses: list[tuple[float, float]],
) -> None:
    exit_, ended_s, began_s = watched(pauses)
    if exit_ is None:
        assert all(still_s <= EVERY_S + SILENT_S for _, still_s in pauses)
    else:
        assert exit_.reason == HUNG
        assert SILENT_S <= ended_s - began_s <= EVERY_S + SILENT_S
    if all(still_s < SILENT_S for _, still_s in pauses):
        assert exit_ is None


@settings(max_examples=50, deadline=None)
@given(st.floats(0.0, 30.0), st.booleans())
def test_a_death_is_told_in_the_instant_in_which_it_happens(after_s: float, hangs: bool) -> None:
    async def scenario() -> None:
        runtime = LocalRuntime({})
        ref = await runtime.spawn("it")
        watching = asyncio.create_task(until_gone(ref, runtime, HEARTBEAT))
        await asyncio.sleep(after_s)
        if hangs:
            runtime.freeze("it")
            await asyncio.sleep(SILENT_S / 2)
        killed_s = asyncio.get_running_loop().time()
        await runtime.kill("it")
        assert await watching == Exit("killed")
        assert asyncio.get_running_loop().time() == killed_s
        runtime.thaw("it")
        await asyncio.sleep(UNDEAD_S)

    run_virtual(scenario(), limit_s=100)
