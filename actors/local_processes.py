"""Processes in one event loop (`actors.runtime_local`): what a process owns, and what its end is.

A process owns every task that was started from within it, however deep: a context variable names the process, and a task
factory on the loop files each new task under the process that its context names. Killing cancels them all, at once and
again until they are gone, fails the calls that wait for the process, and forgets the program. Whatever such a task still
tries through its runtime fails: the dead don't call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextvars import Context, ContextVar
from typing import Any, Protocol

from actors.frozen import Freezable, Freezer
from actors.process import Process
from actors.runtime import Exit, Inside, NameTaken, ProcessDied, ProcessInfo, Program, ProgramFailed, Runtime, Wiring

REAP_ROUNDS_MAX = 100
"""Times that a dead process's task is cancelled before it counts as a defect."""

UNDEAD_S = 1.0
"""Seconds that a process goes on when it is thawed and was killed meanwhile: on a real machine the news may be late."""

_current: ContextVar[LocalProcess | None] = ContextVar("undying_local_process", default=None)


class Faults(Protocol):
    """What may befall calls. Each method may wait, or raise CallLost."""

    async def before_call(self, src: str, dst: str, method: str) -> None:
        """Happen before the call is carried out; raising loses the call itself."""
        ...

    async def after_call(self, src: str, dst: str, method: str) -> None:
        """Happen after the call was carried out; raising loses its answer."""
        ...


def caller_is_dead() -> bool:
    """Tell whether the code that runs now belongs to a process that was killed. For ports that the dead must not use."""
    process = _current.get()
    return process is not None and not process.alive


class LocalProcess:
    """One process: its inside, the tasks it owns, and the calls that wait for it."""

    def __init__(
        self, local: LocalProcesses, name: str, pid: int, program: Program | None, node: str, *, restarts: bool
    ) -> None:
        self.name = name
        self.restarts = restarts
        self.exit: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self.context = Context()
        self.context.run(_current.set, self)
        self.program = program
        self.node = node
        inside = Inside(name, node, local.runtime_of(name))
        self.inner: Process | None = Process(inside, local.wiring, pid, meant_for=program)
        self.freezer = Freezer()
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._waiting: dict[asyncio.Future[Any], None] = {}

    @property
    def alive(self) -> bool:
        """Tell whether it has not ended."""
        return self.inner is not None

    def own(self, task: asyncio.Task[Any]) -> None:
        """File a task under this process."""
        if not self.alive:
            task.cancel()
            return
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    async def carry_out(self, work: Callable[[Process], Coroutine[Any, Any, Any]]) -> Any:
        """Do something inside the process. Raises ProcessDied when that ends first; a caller who goes away changes nothing."""
        if self.inner is None or self.exit.done():
            raise ProcessDied(self.name)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        self._waiting[answer] = None
        task = loop.create_task(work(self.inner), context=self.context)
        task.add_done_callback(lambda done: self._answer(answer, done))
        return await answer

    def _answer(self, answer: asyncio.Future[Any], done: asyncio.Task[Any]) -> None:
        self._waiting.pop(answer, None)
        problem = None if done.cancelled() else done.exception()
        if not answer.done():
            if done.cancelled():
                answer.set_exception(ProcessDied(self.name))
            elif problem is not None:
                answer.set_exception(problem)
            else:
                answer.set_result(done.result())
        if self.inner is not None and self.inner.exit is not None:
            self.end(self.inner.exit)

    def end(self, exit_: Exit) -> None:
        """End at once."""
        if self.inner is None:
            return
        self.inner = None
        self.freezer.release()
        self.be_given_up(exit_)
        self._reap(REAP_ROUNDS_MAX)

    def be_given_up(self, exit_: Exit) -> None:
        """Be dead for everybody else."""
        if not self.exit.done():
            self.exit.set_result(exit_)
        for answer in self._waiting:
            if not answer.done():
                answer.set_exception(ProcessDied(self.name))
        self._waiting.clear()

    def thaw(self) -> None:
        """Go on; one that was given up meanwhile has `UNDEAD_S` until it is ended."""
        self.freezer.thaw()
        if self.exit.done():
            asyncio.get_running_loop().call_later(UNDEAD_S, self.end, self.exit.result(), context=Context())

    def _reap(self, rounds: int) -> None:
        """Cancel what still runs, turn after turn: a task that swallows its cancellation is not spared."""
        if not self._tasks:
            return
        if rounds == 0:
            raise RuntimeError(f"tasks of {self.name} can't be cancelled: {list(self._tasks)}")
        for task in list(self._tasks):
            task.cancel()
        asyncio.get_running_loop().call_soon(self._reap, rounds - 1, context=Context())


class LocalProcesses:
    """The processes of one loop, and the nodes on which they are. `runtime_of` makes the runtime as a process sees it."""

    def __init__(
        self,
        wiring: Wiring,
        faults: Faults | None,
        nodes: Sequence[str],
        spawn_s: float,
        root_restart_s: float,
        before_spawn: Callable[[str], Awaitable[None]] | None,
        runtime_of: Callable[[str], Runtime],
    ) -> None:
        self.wiring = wiring
        self.faults = faults
        self.nodes = dict.fromkeys(nodes, True)  # False: cut off, which nobody has been told yet
        self.spawn_s = spawn_s
        self.root_restart_s = root_restart_s
        self.before_spawn = before_spawn
        self.runtime_of = runtime_of
        self.processes: dict[str, LocalProcess] = {}
        self.undead: dict[str, LocalProcess] = {}
        self._pid = 0

    def create(self, name: str, program: Program | None, node: str, *, restarts: bool) -> LocalProcess:
        """Make an empty process."""
        if name in self.processes:
            raise NameTaken(name)
        if node not in self.nodes:
            raise ProgramFailed(f"node {node} is gone")
        _file_tasks_of(asyncio.get_running_loop())
        self._pid += 1
        process = LocalProcess(self, name, self._pid, program, node, restarts=restarts)
        self.processes[name] = process
        process.exit.add_done_callback(lambda _: self._forget(process))
        return process

    def _forget(self, process: LocalProcess) -> None:
        if self.processes.get(process.name) is process:
            del self.processes[process.name]

    async def start(self, process: LocalProcess, program: Program) -> ProcessInfo:
        """Run a program in a process."""
        info = await process.carry_out(lambda inner: inner.run(program))
        assert isinstance(info, ProcessInfo)
        return info

    def crash(self, process: LocalProcess) -> None:
        """End a process as `kill -9` does; one that restarts is started again after a while."""
        process.end(Exit("killed"))
        self._forget(process)
        if process.restarts and process.program is not None:
            loop = asyncio.get_running_loop()
            loop.call_later(self.root_restart_s, self._restart, process.name, process.program, context=Context())

    def some_node(self, wanted: str) -> str:
        """Return the node wanted when it can be used, else the first that can."""
        return wanted if self.nodes.get(wanted) else next((node for node, reached in self.nodes.items() if reached), wanted)

    def _restart(self, name: str, program: Program) -> None:
        if name not in self.processes:
            process = self.create(name, program, self.some_node(""), restarts=True)
            task = asyncio.get_running_loop().create_task(self.start(process, program), name=f"restart {name}")
            task.add_done_callback(lambda done: None if done.cancelled() else done.exception())


class _TaskFactory:
    """Files each new task under the process that its context names."""

    def __init__(self, before: Callable[..., asyncio.Future[Any]] | None) -> None:
        self._before = before

    def __call__(
        self, loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], *, context: Context | None = None, **rest: Any
    ) -> Any:
        make = self._before or (lambda loop, coro, **options: asyncio.Task(coro, loop=loop, **options))
        process = _current.get() if context is None else context.get(_current)
        task = make(loop, coro if process is None else Freezable(coro, process.freezer), context=context, **rest)
        if process is not None and isinstance(task, asyncio.Task):
            process.own(task)
        return task


def _file_tasks_of(loop: asyncio.AbstractEventLoop) -> None:
    factory: Any = loop.get_task_factory()
    if not isinstance(factory, _TaskFactory):
        ours: Any = _TaskFactory(factory)
        loop.set_task_factory(ours)
