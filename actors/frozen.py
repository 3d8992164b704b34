"""Standing still: what SIGSTOP does to a process, done to the tasks of a local one.

A task's coroutine is wrapped so that each of its steps can be held back: the task then waits for the thaw, and what it was to
be told (that what it awaited is there, that it failed, that it is cancelled) it is told afterwards. So a frozen process does
nothing, forgets nothing, and goes on later in a world that did not wait for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any


class Freezer:
    """Whether one process stands still."""

    def __init__(self) -> None:
        self.frozen = False
        self._held: list[asyncio.Future[None]] = []

    def freeze(self) -> None:
        """Let no task of the process take another step."""
        self.frozen = True

    def thaw(self) -> None:
        """Let all of them go on."""
        self.frozen = False
        held, self._held = self._held, []
        for step in held:
            if not step.done():
                step.set_result(None)

    def release(self) -> None:
        """Hold back nothing any more, and resume nothing: the process is dead, and its tasks are about to be cancelled."""
        self.frozen = False
        self._held.clear()

    def hold(self) -> Any:
        """Return what a held step waits for, in the form in which a coroutine hands it to its task."""
        step: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._held.append(step)
        return next(step.__await__())


class Freezable(Coroutine[Any, Any, Any]):
    """A coroutine whose steps a freezer can hold back."""

    def __init__(self, inner: Coroutine[Any, Any, Any], freezer: Freezer) -> None:
        self._inner = inner
        self._freezer = freezer
        self._told: BaseException | None = None

    def send(self, value: Any) -> Any:
        """Take the next step."""
        if self._freezer.frozen:
            return self._freezer.hold()
        told, self._told = self._told, None
        return self._inner.send(value) if told is None else self._inner.throw(told)

    def throw(self, problem: Any, value: Any = None, trace: Any = None) -> Any:
        """Take the next step with an exception."""
        if self._freezer.frozen:
            self._told = problem
            return self._freezer.hold()
        return self._inner.throw(problem)

    def close(self) -> None:
        """End without another step."""
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._inner.__await__()
