"""How a supervisor that was started again finds the processes that live: by name, then by asking each."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from actors.runtime import CallLost, ProcessInfo, Ref, Runtime, RuntimeFault
from supervision.control_plane import AGAIN_S
from undying.protocol.errors import UndyingError

PREFIX: Final = "process:"
"""Begins the name of every process that was started as a spare, whatever it became."""

HOST: Final = "host"
"""The program in which entities live."""

ADOPT_S: Final = 2.0
"""Seconds that a start waits for the answers. A process that answers later is adopted then."""

_log = logging.getLogger(__name__)


async def living_processes(
    runtime: Runtime, adopt: Callable[[Ref, ProcessInfo], Awaitable[None]], *, within_s: float
) -> list[asyncio.Task[None]]:
    """Ask every process that was a spare once what it is, all at the same time, and call `adopt` with each answer.

    What gets lost is asked again, so `adopt` may be called twice for a process.

    Returns after `within_s` at the latest, with the tasks that still wait, which the caller keeps.
    """
    names = [name for name in await runtime.names() if name.startswith(PREFIX)]
    tasks = [asyncio.create_task(_ask(runtime, name, adopt)) for name in names]
    if not tasks:
        return []
    await asyncio.wait(tasks, timeout=within_s)
    return [task for task in tasks if not task.done()]


async def _ask(runtime: Runtime, name: str, adopt: Callable[[Ref, ProcessInfo], Awaitable[None]]) -> None:
    while True:
        try:
            ref = await runtime.find(name)
            if ref is not None:
                await adopt(ref, await ref.info())
        except CallLost as lost:
            _log.info("process %s is asked again: %s", name, lost)  # given up, it would live on and nobody would know of it
            await asyncio.sleep(AGAIN_S)
            continue
        except (RuntimeFault, UndyingError) as problem:
            _log.info("process %s can't be adopted: %s", name, problem)
        return
