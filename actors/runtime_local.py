"""The runtime port in one event loop: for tests, and for the simulation under virtual time.

A process owns every task that was started from within it, however deep: a context variable names the process, and a task
factory on the loop files each new task under the process that its context names. Killing cancels them all, at once and
again until they are gone, fails the calls that wait for the process, and forgets the program. Whatever such a task still
tries through its runtime fails: the dead don't call.

Arguments and results are copied through pickle, so processes share no object. Nothing here uses threads, the wall clock
or an unordered set, so a run is a function of the program and of `Faults`.
"""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextvars import Context, ContextVar
from typing import Any, Protocol

from actors.frozen import Freezable, Freezer
from actors.process import Process
from actors.runtime import Exit, Inside, NameTaken, ProcessDied, ProcessInfo, Program, ProgramFailed, Ref, Wiring

REAP_ROUNDS_MAX = 100
"""Times that a dead process's task is cancelled before it counts as a defect."""

UNDEAD_S = 1.0
"""Seconds that a process goes on when it is thawed and was killed meanwhile: on a real machine the news may be late."""

UNREACHED_LOOK_S = 0.1
"""Seconds between two looks at whether a node that is cut off is back, or known to be gone."""

_current: ContextVar[_LocalProcess | None] = ContextVar("undying_local_process", default=None)


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


class _LocalProcess:
    """One process: its inside, the tasks it owns, and the calls that wait for it."""

    def __init__(self, local: _Local, name: str, pid: int, program: Program | None, node: str, *, restarts: bool) -> None:
        self.name = name
        self.restarts = restarts
        self.exit: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self.context = Context()
        self.context.run(_current.set, self)
        self.program = program
        self.node = node
        inside = Inside(name, node, LocalRuntime(local.wiring, _local=local, _name=name))
        self.inner: Process | None = Process(inside, local.wiring, pid, meant_for=program)
        self.freezer = Freezer()
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._waiting: dict[asyncio.Future[Any], None] = {}

    @property
    def alive(self) -> bool:
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


class _Local:
    """The processes of one loop."""

    def __init__(
        self,
        wiring: Wiring,
        faults: Faults | None,
        nodes: Sequence[str],
        spawn_s: float,
        root_restart_s: float,
        before_spawn: Callable[[str], Awaitable[None]] | None,
    ) -> None:
        self.wiring = wiring
        self.faults = faults
        self.nodes = dict.fromkeys(nodes, True)  # False: cut off, which nobody has been told yet
        self.spawn_s = spawn_s
        self.root_restart_s = root_restart_s
        self.before_spawn = before_spawn
        self.processes: dict[str, _LocalProcess] = {}
        self.undead: dict[str, _LocalProcess] = {}
        self._pid = 0

    def create(self, name: str, program: Program | None, node: str, *, restarts: bool) -> _LocalProcess:
        """Make an empty process."""
        if name in self.processes:
            raise NameTaken(name)
        if node not in self.nodes:
            raise ProgramFailed(f"node {node} is gone")
        _file_tasks_of(asyncio.get_running_loop())
        self._pid += 1
        process = _LocalProcess(self, name, self._pid, program, node, restarts=restarts)
        self.processes[name] = process
        process.exit.add_done_callback(lambda _: self._forget(process))
        return process

    def _forget(self, process: _LocalProcess) -> None:
        if self.processes.get(process.name) is process:
            del self.processes[process.name]

    async def start(self, process: _LocalProcess, program: Program) -> ProcessInfo:
        """Run a program in a process."""
        info = await process.carry_out(lambda inner: inner.run(program))
        assert isinstance(info, ProcessInfo)
        return info

    def crash(self, process: _LocalProcess) -> None:
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


class LocalRef:
    """A way to one local process. That of a process that restarts goes on to the next one of its name."""

    def __init__(self, local: _Local, src: str, process: _LocalProcess) -> None:
        self._local = local
        self._src = src
        self._process = process

    @property
    def name(self) -> str:
        """Return the process's name."""
        return self._process.name

    async def call(self, method: str, *args: Any) -> Any:
        """Call a method of the program."""
        sent = _copy(args)
        if caller_is_dead():
            raise ProcessDied(self._src)
        faults = self._local.faults
        if faults is not None:
            await faults.before_call(self._src, self.name, method)
        answer = await self._now().carry_out(lambda inner: inner.call(method, sent))
        if faults is not None:
            await faults.after_call(self._src, self.name, method)
        return _copy(answer)

    async def run(self, program: Program) -> ProcessInfo:
        """Give the empty process a program."""
        if caller_is_dead():
            raise ProcessDied(self._src)
        return await self._local.start(self._now(), _copy(program))

    async def prepare(self, program: Program) -> None:
        """Let the empty process build a program."""
        if caller_is_dead():
            raise ProcessDied(self._src)
        prepared = _copy(program)
        await self._now().carry_out(lambda inner: inner.prepare(prepared))

    async def info(self) -> ProcessInfo:
        """Return facts about the process."""
        info = await self._now().carry_out(_info)
        assert isinstance(info, ProcessInfo)
        return info

    async def watch(self) -> Exit:
        """Return when the process is gone."""
        return await asyncio.shield(self._process.exit)

    def _now(self) -> _LocalProcess:
        if self._process.restarts:
            self._process = self._local.processes.get(self.name, self._process)
        return self._process


class LocalRuntime:
    """The runtime port over one event loop, as seen from outside all processes or (`_name`) from within one.

    `spawn_s` is what a new process costs, `root_restart_s` what it takes until a crashed root is started again, both in
    the loop's seconds. `before_spawn` is given the name of each process that is to be started; it may wait, or raise CallLost
    or ProgramFailed, and then there is no such process.
    """

    def __init__(
        self,
        wiring: Wiring,
        *,
        faults: Faults | None = None,
        nodes: Sequence[str] = ("local",),
        spawn_s: float = 0.0,
        root_restart_s: float = 2.0,
        before_spawn: Callable[[str], Awaitable[None]] | None = None,
        _local: _Local | None = None,
        _name: str = "",
    ) -> None:
        self._local = _local or _Local(wiring, faults, nodes, spawn_s, root_restart_s, before_spawn)
        self._name = _name

    async def spawn(self, name: str, program: Program | None = None, *, restarts: bool = False, node: str = "") -> Ref:
        """Start a process. Raises NameTaken, ProgramFailed."""
        if caller_is_dead():
            raise ProcessDied(self._name)
        if self._local.spawn_s > 0:
            await asyncio.sleep(self._local.spawn_s)
        if self._local.before_spawn is not None:
            await self._local.before_spawn(name)
        where = node or self._local.some_node(self._node())
        while self._local.nodes.get(where) is False:  # noqa: ASYNC110 - virtual time
            await asyncio.sleep(UNREACHED_LOOK_S)
        process = self._local.create(name, program, where, restarts=restarts)
        if program is not None:
            try:
                await self._local.start(process, _copy(program))
            except ProcessDied as died:
                raise ProgramFailed(f"{name} died while it started") from died
        return LocalRef(self._local, self._name, process)

    async def nodes(self) -> list[str]:
        """Return the nodes, also those that are cut off."""
        return list(self._local.nodes)

    async def find(self, name: str) -> Ref | None:
        """Find a living process."""
        process = self._local.processes.get(name)
        return LocalRef(self._local, self._name, process) if process is not None and process.alive else None

    async def names(self) -> list[str]:
        """Return the names of all living processes, oldest first."""
        return [name for name, process in self._local.processes.items() if process.alive]

    def has_ended(self, known: ProcessInfo) -> bool:
        """Tell whether there is no such process."""
        process = self._local.processes.get(known.name)
        return process is None or not process.alive

    async def kill(self, name: str, known: ProcessInfo | None = None) -> None:
        """End a process for good. One that is frozen is dead for everybody else, and learns of it some time after its thaw."""
        process = self._local.processes.get(name)
        if process is not None and not caller_is_dead():
            if process.freezer.frozen:
                self._local.undead[name] = process
                process.be_given_up(Exit("killed"))
            else:
                process.end(Exit("killed"))
            self._local.processes.pop(name, None)

    def crash(self, name: str) -> None:
        """Do to a process what `kill -9` from outside does: the root comes back from it. No error when it is gone."""
        process = self._local.processes.get(name)
        if process is not None:
            self._local.crash(process)

    def running(self, program: str, node: str = "") -> list[str]:
        """Return the names of the processes that run a program (on that node), also of those that would not answer."""
        infos = [each.inner.info() for each in self._local.processes.values() if each.inner is not None]
        return [info.name for info in infos if info.program == program and node in ("", info.node)]

    def add_node(self, node: str) -> None:
        """Add a node."""
        self._local.nodes[node] = True

    def lose_node(self, node: str, noticed_s: float = 0.0) -> None:
        """Do what the end of a machine does: all its processes are gone, of which nobody is told for `noticed_s`."""
        self.cut_off(node)
        loop = asyncio.get_running_loop()
        loop.call_later(noticed_s, self._bury, node, context=Context())

    def cut_off(self, node: str) -> None:
        """Let nothing be heard of a node any more."""
        self._local.nodes[node] = False
        for process in self._on(node):
            process.freezer.freeze()

    def join_again(self, node: str) -> None:
        """Undo `cut_off`."""
        self._local.nodes[node] = True
        for process in [*self._on(node), *(each for each in self._local.undead.values() if each.node == node)]:
            process.thaw()
        self._local.undead = {name: each for name, each in self._local.undead.items() if each.node != node}

    def _bury(self, node: str) -> None:
        self._local.nodes.pop(node, None)
        for process in self._on(node):
            self._local.crash(process)
        for name, process in list(self._local.undead.items()):
            if process.node == node:
                del self._local.undead[name]
                process.end(Exit("killed"))

    def _on(self, node: str) -> list[_LocalProcess]:
        return [process for process in self._local.processes.values() if process.node == node]

    def _node(self) -> str:
        process = self._local.processes.get(self._name)
        return "" if process is None else process.node

    def freeze(self, name: str) -> None:
        """Do to a process what SIGSTOP does: it takes no step and answers nothing. No error when it is gone."""
        process = self._local.processes.get(name)
        if process is not None:
            process.freezer.freeze()

    def thaw(self, name: str) -> None:
        """Do to a process what SIGCONT does. No error when it is gone."""
        process = self._local.undead.pop(name, None) or self._local.processes.get(name)
        if process is not None:
            process.thaw()


async def _info(inner: Process) -> ProcessInfo:
    return inner.info()


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


def _copy(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))  # noqa: S301 - bytes that were made on the same line
