"""The processes that a server started: known, recorded, and none left at the end.

A server that ends in order ends its parts in order. This is what holds when one doesn't: it ends processes that outlived their
part, and those of a server that was itself killed, which its successor finds in the data directory's record.

Two things tell which processes those are, for neither does alone. All that a server starts inherits a *mark* in its
environment; but a process may write over the place where the system shows that (some of Ray's do, with their titles). The
*record* has those, but is some seconds behind: a process that was starting when the server was killed is found by its mark.

A recorded process is known by its pid and the time it was made, so that another one that got the pid later is never touched.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Final

import psutil
import structlog

from undying.cli.datadir import DataDir, Started
from undying.protocol.errors import UndyingError

MARK: Final = "UNDYING_SERVER"
"""The variable that all processes of a server have in their environment; its value is the data directory's server id."""

RECORD_S: Final = 2.0
"""Seconds between two looks at what was started."""

GRACE_S: Final = 5.0
"""Seconds that a process has between being asked to end and being killed."""

LEFT_GRACE_S: Final = 1.0
"""The same for what a dead server left behind: nobody is served by it any more, and the next one waits."""

KILLED_S: Final = 5.0
"""Seconds within which the kernel ends a killed process, unless it hangs in the kernel itself."""

CLOCK_S: Final = 1.0
"""How far two readings of one process's start may lie apart: the clock they are computed from gets corrected."""

_log = structlog.get_logger(__name__)


def running() -> list[Started]:
    """Return the living processes below this one."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                found.append(Started(process.pid, process.create_time()))
    return found


@contextmanager
def marking(server_id: str) -> Iterator[None]:
    """Mark what is started within the block as this server's."""
    before = os.environ.get(MARK)
    os.environ[MARK] = server_id
    try:
        yield
    finally:
        if before is None:
            del os.environ[MARK]
        else:
            os.environ[MARK] = before


def marked(server_id: str) -> list[Started]:
    """Return the living processes with a server's mark, but for this one and those above it."""
    me = psutil.Process()
    spared = {me.pid, *(above.pid for above in me.parents())}
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied, OSError):  # it ended while we looked, or is somebody else's
            if process.pid not in spared and process.environ().get(MARK) == server_id:
                found.append(Started(process.pid, process.create_time()))
    return found


def end(started: Iterable[Started], grace_s: float = GRACE_S) -> list[int]:
    """End those of the processes that still live, and all below them: ask, wait up to `grace_s`, kill.

    Blocks for up to `grace_s` + KILLED_S. Returns the pids that were alive. Never raises for a process that ends meanwhile or
    belongs to somebody else.
    """
    alive = _with_descendants(started)
    for process in alive:
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            process.terminate()
    _, stubborn = psutil.wait_procs(alive, timeout=grace_s)
    _kill(stubborn)
    psutil.wait_procs(stubborn, timeout=KILLED_S)
    return [process.pid for process in alive]


def kill_all() -> None:
    """Kill everything below this process at once; for a person who won't wait. Doesn't wait either."""
    _kill(psutil.Process().children(recursive=True))


@asynccontextmanager
async def recorded(directory: DataDir) -> AsyncIterator[None]:
    """Keep a record of what runs below this process in the data directory, for as long as the block lasts."""
    task = asyncio.create_task(_record(directory, await _look(directory, [])))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _record(directory: DataDir, known: list[Started]) -> None:
    while True:
        await asyncio.sleep(RECORD_S)
        known = await _look(directory, known)


async def _look(directory: DataDir, known: list[Started]) -> list[Started]:
    """Record what runs, when it is not what is `known`; returns what is recorded."""
    now = await asyncio.to_thread(running)
    if now == known:
        return known
    try:
        await asyncio.to_thread(directory.record, now)
    except UndyingError as problem:  # a full disk; the server itself has more to say about that
        _log.warning("processes not recorded", reason=problem.failure.message)
        return known
    return now


def _with_descendants(started: Iterable[Started]) -> list[psutil.Process]:
    found: dict[int, psutil.Process] = {}
    for pid, created in started:
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            process = psutil.Process(pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                continue  # it ended; until its parent asks after it, in some containers never, it only looks alive
            if abs(process.create_time() - created) <= CLOCK_S:
                found[pid] = process
                found.update((below.pid, below) for below in process.children(recursive=True))
    return list(found.values())


def _kill(processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            process.kill()
