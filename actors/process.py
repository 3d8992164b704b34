"""What is inside one process, whichever runtime made it: at most one program, built by name and called by method name.

    empty ──run──▶ starting ──▶ running ──stop──▶ ended
                       └── start raised ──────────▶ ended

Nothing here knows how calls travel. A runtime wraps a `Process`, carries calls to it, and lets the process go as soon as
`exit` is set. What a program raises is sorted here, so that both runtimes agree: a failure from the taxonomy goes up
whole, everything else becomes ProgramFailed.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Sequence
from typing import Any

from actors.runtime import Exit, Inside, ProcessInfo, Program, ProgramFailed, Running, Wiring
from undying.protocol.errors import UndyingError

_log = logging.getLogger(__name__)


class Process:
    """One process from within. `exit` is None while it lives, and how it ended once it is to go.

    `meant_for` says that it is about to be given a program, so calls wait for that; `memory_bytes` tells what it holds.
    """

    def __init__(
        self,
        inside: Inside,
        wiring: Wiring,
        pid: int,
        *,
        meant_for: Program | None = None,
        memory_bytes: Callable[[], int] = lambda: 0,
    ) -> None:
        self.exit: Exit | None = None
        self._inside = inside
        self._wiring = wiring
        self._pid = pid
        self._meant_for = meant_for
        self._memory_bytes = memory_bytes
        self._program: Program | None = None
        self._running: Running | None = None
        self._prepared: tuple[Program, Running] | None = None
        self._started = asyncio.Event()
        self._gone = asyncio.Event()

    def info(self) -> ProcessInfo:
        """Return the facts about this process."""
        program = self._program
        return ProcessInfo(
            self._inside.name,
            self._pid,
            self._inside.node,
            program.name if program else None,
            program.label if program else "",
            self._memory_bytes(),
        )

    async def run(self, program: Program) -> ProcessInfo:
        """Build a program and start it. Raises ProgramFailed; a start that failed also ends the process."""
        if self._program is not None:
            raise ProgramFailed(f"{self._inside.name} runs {self._program.name} already")
        self._program = program
        try:
            running = await self._take_prepared(program) or await self._build(program)
            await running.start()
        except Exception as problem:  # a program may fail to start in any way; whoever asked for it is told
            _log.exception("program %s did not start in %s", program.name, self._inside.name)
            text = f"{program.name} did not start: {problem!r}"
            self._end(Exit("failed", text))
            raise ProgramFailed(text) from problem
        self._running = running
        self._started.set()
        return self.info()

    async def prepare(self, program: Program) -> None:
        """Build a program that will probably be run, once. Raises ProgramFailed; the process stays empty either way."""
        if self._program is not None or (self._prepared is not None and self._prepared[0] == program):
            return
        try:
            running = await self._build(program)
        except Exception as problem:  # a program may fail to be built in any way; whoever asked for it is told
            raise ProgramFailed(f"{program.name} can't be built: {problem!r}") from problem
        if self._program is not None or self._prepared is not None:
            await running.stop()  # it was given one meanwhile, or another one was built
        else:
            self._prepared = (program, running)

    async def _take_prepared(self, program: Program) -> Running | None:
        prepared, self._prepared = self._prepared, None
        if prepared is None or prepared[0] == program:
            return None if prepared is None else prepared[1]
        await prepared[1].stop()
        return None

    async def _build(self, program: Program) -> Running:
        built = self._wiring[program.name](program.settings, self._inside)
        return await built if inspect.isawaitable(built) else built

    async def call(self, method: str, args: Sequence[Any]) -> Any:
        """Call a public method of the program; waits while it starts. Raises UndyingError or ProgramFailed."""
        program = self._program or self._meant_for or (self._prepared[0] if self._prepared else None)
        if program is None:
            raise ProgramFailed(f"{self._inside.name} is empty: no {method}")
        await self._started.wait()
        target = None if method.startswith("_") or method == "start" else getattr(self._running, method, None)
        if target is None:
            raise ProgramFailed(f"{program.name} has no method {method}")
        try:
            answer = await target(*args)
        except UndyingError:
            raise
        except Exception as problem:  # the edge of a call: a defect must reach the caller, not kill the process
            _log.exception("%s of %s failed", method, self._inside.name)
            raise ProgramFailed(f"{method} of {program.name} raised {problem!r}") from problem
        finally:
            if method == "stop":
                self._end(Exit("stopped"))
        return answer

    def fail(self, what: str) -> None:
        """End because something the program can't go on without has ended."""
        self._end(Exit("failed", what))

    async def gone(self) -> Exit:
        """Return when the process ends of its own."""
        await self._gone.wait()
        assert self.exit is not None
        return self.exit

    def _end(self, exit_: Exit) -> None:
        self.exit = exit_
        self._gone.set()
