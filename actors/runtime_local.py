"""The runtime port in one event loop: for tests, and for the simulation under virtual time.

What a process owns and how it ends is in `actors.local_processes`.

Arguments and results are copied through pickle, so processes share no object. Nothing here uses threads, the wall clock
or an unordered set, so a run is a function of the program and of `Faults`.
"""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import Any

from actors.local_processes import Faults, LocalProcess, LocalProcesses, caller_is_dead
from actors.process import Process
from actors.runtime import Exit, ProcessDied, ProcessInfo, Program, ProgramFailed, Ref, Wiring

UNREACHED_LOOK_S = 0.1
"""Seconds between two looks at whether a node that is cut off is back, or known to be gone."""


class LocalRef:
    """A way to one local process. That of a process that restarts goes on to the next one of its name."""

    def __init__(self, local: LocalProcesses, src: str, process: LocalProcess) -> None:
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

    def _now(self) -> LocalProcess:
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
        _local: LocalProcesses | None = None,
        _name: str = "",
    ) -> None:
        self._local = _local or LocalProcesses(
            wiring,
            faults,
            nodes,
            spawn_s,
            root_restart_s,
            before_spawn,
            lambda name: LocalRuntime(wiring, _local=self._local, _name=name),
        )
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

    def _on(self, node: str) -> list[LocalProcess]:
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


def _copy(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))  # noqa: S301 - bytes that were made on the same line
