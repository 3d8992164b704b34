"""The runtime port: processes that run programs, seen from inside one of them.

A *process* is a Ray actor (`runtime_ray`) or, in tests and the simulation, a task group (`runtime_local`). It is empty (a
spare) or runs one *program*: a host, a gateway, a supervisor, the root. Programs are named in the wiring, a table that
the composition root makes; a program is built from its name and plain settings, so a process on another machine can too.

What callers rely on:

- A call that raises `ProcessDied` or `CallLost` has an unknown outcome.
- An `UndyingError` raised by the program arrives whole. Any other exception arrives as `ProgramFailed` with its text.
- `watch` returns as soon as the process is gone, also when it was gone before; it never raises.
- Names are unique among living processes; the name of a dead process may be used again.
- A process stays on the node on which it was started. Of a node that is lost or cut off nothing is heard until the runtime has
  noticed, which may take some ten seconds; a process there that is killed by name meanwhile is dead for everybody at once, and
  ends when the news reaches it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from undying.protocol.data import JsonObject


class RuntimeFault(Exception):
    """What a runtime raises, and nothing else."""


class ProcessDied(RuntimeFault):
    """There is no such process (any more). A call that was under way has an unknown outcome."""


class CallLost(RuntimeFault):
    """The call was not answered; the outcome is unknown and the process may well live."""


class ProgramFailed(RuntimeFault):
    """The program raised something that is not from the taxonomy: a defect, or a start that failed."""


class NameTaken(RuntimeFault):
    """A living process has that name."""


@dataclass(frozen=True, slots=True)
class Program:
    """Which program, and its settings as plain data. `label` tells apart those that run the same one (`gateway:1`)."""

    name: str
    settings: JsonObject = field(default_factory=dict)
    label: str = ""


@dataclass(frozen=True, slots=True)
class ProcessInfo:
    """Facts about a living process. `memory_bytes` is what it holds in memory (its resident set), 0 when that is not known."""

    name: str
    pid: int
    node: str
    program: str | None
    label: str = ""
    memory_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended: `killed` died by a signal or a machine, `stopped` was asked to, `failed` its start raised."""

    reason: str
    detail: str = ""


class Ref(Protocol):
    """A way to reach one process. Plain to pass around; stays valid, and fails, after the process died."""

    @property
    def name(self) -> str:
        """Return the process's name."""
        ...

    async def call(self, method: str, *args: Any) -> Any:
        """Call a public coroutine method of the process's program. Arguments and result are plain data."""
        ...

    async def run(self, program: Program) -> ProcessInfo:
        """Give an empty process its program and start it; returns when `start` returned. Raises ProgramFailed."""
        ...

    async def prepare(self, program: Program) -> None:
        """Let an empty process build a program that it will probably be given, so that `run` has only to start it.

        The process stays empty, and may still be given another program. Calls to it wait from now on until one runs. Raises
        ProgramFailed when it can't be built.
        """
        ...

    async def info(self) -> ProcessInfo:
        """Ask the process about itself."""
        ...

    async def watch(self) -> Exit:
        """Return when the process is gone."""
        ...


class Runtime(Protocol):
    """Makes, finds and ends processes."""

    async def spawn(self, name: str, program: Program | None = None, *, restarts: bool = False, node: str = "") -> Ref:
        """Start a process, empty unless a program is given; returns when it is up. `restarts`: only for the root.

        It starts on `node` or not at all; without one, here if that is possible. Raises NameTaken, and ProgramFailed when the
        program's start raised or the node is none (any more). On a node that is cut off it does not return until that is known.
        """
        ...

    async def nodes(self) -> list[str]:
        """Return the nodes on which processes may be started. One that was lost or cut off may still be among them."""
        ...

    async def find(self, name: str) -> Ref | None:
        """Find a living process by name."""
        ...

    async def names(self) -> list[str]:
        """Return the names of the processes that live, as far as is known."""
        ...

    def has_ended(self, known: ProcessInfo) -> bool:
        """Tell whether a process is gone, as far as that can be seen from here at once; False when it can't.

        Before the runtime itself has noticed: for those who have reason to believe it.
        """
        ...

    async def kill(self, name: str, known: ProcessInfo | None = None) -> None:
        """End a process at once, without asking it. No error when it is gone.

        With what is `known` of it one that hangs lets go of what it holds (sockets, memory) at once too.
        """
        ...


class Running(Protocol):
    """A program that runs in a process."""

    async def start(self) -> None:
        """Begin. Whatever it raises fails the start."""
        ...

    async def stop(self) -> None:
        """End in order: finish, save, let go. The process ends after it."""
        ...


@dataclass(frozen=True, slots=True)
class Inside:
    """What a program is given: its process's name and node, and the runtime to reach others."""

    name: str
    node: str
    runtime: Runtime


Builder = Callable[[JsonObject, Inside], Running | Awaitable[Running]]
Wiring = Mapping[str, Builder]
"""Program names and how to build each."""
