"""Runs a coroutine on an event loop whose clock jumps: when nothing can run, it is at once the time of the next timer.

An hour of backoff takes milliseconds, and a run is a function of the program alone: no real clock, no real waiting, no
order that depends on how busy the machine is. Sockets, threads and subprocesses don't exist here.

A run ends in one of these ways:

- the coroutine returns or raises: so does `run_virtual`;
- `Stuck`: nothing can ever run again, though the coroutine has not ended (a deadlock);
- `OutOfTime`: the virtual clock would pass the limit, or the loop turns on and on without the clock moving (a livelock);
- `Unheeded`: a task failed and nobody looked at it.

What is left of tasks is cancelled before `run_virtual` returns, whichever way it ends.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

TURNS_MAX = 1_000_000
"""Loop turns that may go by at one instant."""
CLEAN_UP_S = 60.0
"""Virtual seconds that cancelled tasks may take to end."""


CANCELS_MAX = 10
"""Times that a task is cancelled before it counts as a defect."""


class Stuck(Exception):
    """Every task waits for something that nothing will bring about."""


class OutOfTime(Exception):
    """The run took more virtual time, or more turns at one instant, than it may."""


class Unheeded(Exception):
    """The loop was told of a failure that no one awaits."""


class _JumpingSelector(selectors.SelectSelector):
    """Never waits: moves the clock instead."""

    def __init__(self, limit_s: float) -> None:
        super().__init__()
        self.now = 0.0
        self.limit_s = limit_s
        self._turns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready now; if that is nothing, make it the time of the next timer."""
        if timeout is not None and timeout <= 0:
            self._turns += 1
            if self._turns > TURNS_MAX:
                raise OutOfTime(f"{TURNS_MAX:,} turns of the loop, and it is still {self.now:.3f} s")
            return []
        ready = super().select(0)
        if ready:
            return ready
        if timeout is None:
            raise Stuck(f"at {self.now:.3f} s nothing can run any more")
        if self.now + timeout > self.limit_s:
            raise OutOfTime(f"not done at {self.now:.3f} s; the limit is {self.limit_s} s")
        self.now += timeout
        self._turns = 0
        return []


class _VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self, limit_s: float) -> None:
        self._jumping = _JumpingSelector(limit_s)
        self.unheeded: list[dict[str, Any]] = []
        super().__init__(self._jumping)
        self.set_exception_handler(lambda _loop, context: self.unheeded.append(context))

    def time(self) -> float:
        """Return the virtual time in seconds since the run began."""
        return self._jumping.now

    def allow_clean_up(self) -> None:
        """Give what is left some more virtual time."""
        self._jumping.limit_s = self._jumping.now + CLEAN_UP_S
        self._jumping._turns = 0


def run_virtual(coro: Coroutine[Any, Any, T], *, limit_s: float) -> T:
    """Run `coro` to its end within `limit_s` virtual seconds, and return what it returns.

    Raises what it raises, and Stuck, OutOfTime or Unheeded. Not to be called from within a running loop.
    """
    loop = _VirtualLoop(limit_s)
    try:
        main = loop.create_task(coro)
        try:
            result = loop.run_until_complete(main)
        except (Stuck, OutOfTime) as stop:
            stop.add_note("\n".join(["tasks that were left:", *sorted(repr(task) for task in asyncio.all_tasks(loop))]))
            raise
        finally:
            _cancel_the_rest(loop)
        if loop.unheeded:
            _raise_unheeded(loop.unheeded)
        return result
    finally:
        loop.close()


def _cancel_the_rest(loop: _VirtualLoop) -> None:
    for _ in range(CANCELS_MAX):
        rest = sorted(asyncio.all_tasks(loop), key=lambda task: task.get_name())
        if not rest:
            return
        for task in rest:
            task.cancel()
        loop.allow_clean_up()
        loop.run_until_complete(asyncio.wait(rest, timeout=CLEAN_UP_S / 2))
    raise Unheeded(f"tasks that can't be cancelled: {rest}")


def _raise_unheeded(contexts: list[dict[str, Any]]) -> None:
    causes = [context["exception"] for context in contexts if isinstance(context.get("exception"), BaseException)]
    problem = Unheeded("; ".join(str(context.get("message")) for context in contexts))
    raise problem from (causes[0] if causes else None)
