"""The runtime port over Ray: each process is a Ray actor, all of one generic class. The only file that imports Ray.

All Ray calls are made here, and what Ray raises is sorted here:

    the actor is dead                         ProcessDied    outcome unknown
    it can't be reached, or anything else     CallLost       outcome unknown, it may live
    what the program raised                   comes back as data, never as an exception of Ray's

Actors are detached, so a supervisor's death does not take its children, and Ray restarts none of them (`max_restarts=0`)
but the root. A root that Ray restarts is the same process to those who hold a ref: calls to it are lost for a while.

Ray's calls that block (create, find, list, kill) go through a thread, so a slow control plane stops no one's loop.

A process that was cut off is given up by the others, and killed; should that not have reached it, it finds out by itself that
nobody knows it any more under its name, and ends (`_leave_when_unknown`). What it writes meanwhile the store refuses.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, cast

import psutil
import ray
import ray.util
from ray._private import worker as ray_worker
from ray.exceptions import ActorDiedError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from actors.garbage import collect_rarely
from actors.process import Process
from actors.runtime import CallLost, Exit, Inside, NameTaken, ProcessDied, ProcessInfo, Program, ProgramFailed, Ref, Wiring
from undying.protocol.errors import Failure, UndyingError
from undying.resilience.tasks import FATAL

CONCURRENCY_MAX: Final = 4096
"""Calls that one process carries out at a time; those above wait in Ray's queue."""

ANSWER_S: Final = 0.05
"""Seconds between the answer to `stop` and the process's end, so that the answer gets out."""

WATCH_AGAIN_S: Final = 0.05
"""Seconds until a process that could not be reached is watched again."""

KNOWN_LOOK_S: Final = 15.0
UNKNOWN_LOOKS: Final = 2
"""How often a process asks whether it is still the one of its name, and how many times in a row it must not be, to end."""

RAY_TITLE: Final = "ray::"
"""How the system names a process that Ray runs an actor in."""

SOME_MEMORY_BYTES: Final = 1 << 20
"""What an actor asks of its node, so that it asks for something: Ray puts one that asks for nothing on a node of its choice."""

UNKNOWN_EXIT: Final = 70

PF_EXITING: Final = 0x4
"""A flag in the seventh field behind a process's name in its `stat` file (proc(5), include/linux/sched.h)."""

NODE_CHARS: Final = 8
"""Characters of Ray's name of a node that are shown and used; the whole has 56."""

NAME_FREE_S: Final = 0.005
NAME_FREE_TRIES: Final = 400
"""How often, and seconds apart, Ray is asked whether it has forgotten the name of an actor that was killed."""

_log = logging.getLogger(__name__)
_OK, _REFUSED, _FAILED = 0, 1, 2


class UndyingProcess:
    """What runs in every Ray actor of ours."""

    def __init__(self, wiring: str, preload: Sequence[str], namespace: str, name: str, program: Program | None) -> None:
        for module in () if program else preload:
            importlib.import_module(module)
        collect_rarely()
        runtime = RayRuntime(wiring, preload, namespace=namespace)
        inside = Inside(name, _node(), runtime)
        self._process = Process(inside, _Wired(wiring), os.getpid(), meant_for=program, memory_bytes=_memory_bytes)
        self._begun: asyncio.Task[tuple[int, Any]] | None = None
        asyncio.get_running_loop().set_exception_handler(self._on_loop_error)
        self._look = asyncio.get_running_loop().create_task(self._leave_when_unknown(runtime))
        if program is not None:  # also when Ray starts the root again, and nobody is there to ask
            self._begun = asyncio.get_running_loop().create_task(self.run(program))

    async def begun(self) -> tuple[int, Any]:
        """Return when the process is up and its program, if it was made with one, has started."""
        return (_OK, None) if self._begun is None else await self._begun

    async def run(self, program: Program) -> tuple[int, Any]:
        """Run a program."""
        try:
            return _OK, await self._process.run(program)
        except ProgramFailed as failed:
            return _FAILED, str(failed)
        finally:
            self._leave_if_ended()

    async def prepare(self, program: Program) -> tuple[int, Any]:
        """Build a program."""
        try:
            await self._process.prepare(program)
        except ProgramFailed as failed:
            return _FAILED, str(failed)
        return _OK, None

    async def call(self, method: str, args: tuple[Any, ...]) -> tuple[int, Any]:
        """Call the program."""
        try:
            return _OK, await self._process.call(method, args)
        except UndyingError as refused:
            return _REFUSED, refused.failure
        except ProgramFailed as failed:
            return _FAILED, str(failed)
        finally:
            self._leave_if_ended()

    async def info(self) -> tuple[int, Any]:
        """Tell about the process."""
        return _OK, self._process.info()

    async def gone(self) -> Exit:
        """Return when the process ends of its own; when it is killed, Ray answers in its place."""
        return await self._process.gone()

    def _on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        loop.default_exception_handler(context)
        if context.get(FATAL):
            self._process.fail(str(context.get("message")))
            self._leave_if_ended()

    async def _leave_when_unknown(self, runtime: RayRuntime) -> None:
        me, looks = ray.get_runtime_context().get_actor_id(), 0
        while looks < UNKNOWN_LOOKS:
            await asyncio.sleep(KNOWN_LOOK_S)
            try:
                looks = 0 if await runtime.is_known(self._process.info().name, me) else looks + 1
            except CallLost:
                looks = 0  # out of reach is not given up
        _log.critical("%s is not known any more; it ends", self._process.info().name)
        os._exit(UNKNOWN_EXIT)

    def _leave_if_ended(self) -> None:
        # Not `exit_actor`: it waits for every pending call, and the pending polls of gateways don't end.
        if self._process.exit is not None:
            me = ray.get_runtime_context().current_actor
            asyncio.get_running_loop().call_later(ANSWER_S, lambda: ray.kill(me, no_restart=True))


class _Wired(dict[str, Any]):
    """The wiring table behind an import string, imported when a program is first asked for."""

    def __init__(self, wiring: str) -> None:
        super().__init__()
        self._where = wiring

    def __missing__(self, program: str) -> Any:
        module, _, attribute = self._where.partition(":")
        table: Wiring = getattr(importlib.import_module(module), attribute)
        self.update(table)
        if program not in table:
            raise KeyError(f"{program} is not in {self._where}")
        return table[program]


_Actor: Final[Any] = ray.remote(UndyingProcess)


class RayRef:
    """A way to one Ray actor. Stays bound to that actor when another one gets its name."""

    def __init__(self, name: str, handle: Any) -> None:
        self._name = name
        self._handle = handle

    @property
    def name(self) -> str:
        """Return the process's name."""
        return self._name

    async def call(self, method: str, *args: Any) -> Any:
        """Call a method of the program."""
        return await self._ask(self._handle.call, method, args)

    async def run(self, program: Program) -> ProcessInfo:
        """Give the empty process a program."""
        return cast(ProcessInfo, await self._ask(self._handle.run, program))

    async def prepare(self, program: Program) -> None:
        """Let the empty process build a program."""
        await self._ask(self._handle.prepare, program)

    async def info(self) -> ProcessInfo:
        """Return facts about the process."""
        return cast(ProcessInfo, await self._ask(self._handle.info))

    async def begun(self) -> None:
        """Return when the process is up. Raises ProgramFailed when its program did not start."""
        try:
            await self._ask(self._handle.begun)
        except ProcessDied as died:
            raise ProgramFailed(f"{self._name} died while it started: {died}") from died

    async def watch(self) -> Exit:
        """Return when the process is gone."""
        while True:
            try:
                return cast(Exit, await self._handle.gone.remote())
            except ActorDiedError as died:
                return Exit("killed", _line(died))
            except RayError:  # out of reach is not gone: it is asked again until Ray knows
                await asyncio.sleep(WATCH_AGAIN_S)

    async def _ask(self, method: Any, *args: Any) -> Any:
        try:
            kind, answer = await method.remote(*args)
        except ActorDiedError as died:
            raise ProcessDied(f"{self._name}: {_line(died)}") from died
        except RayError as lost:
            raise CallLost(f"{self._name}: {_line(lost)}") from lost
        if kind == _OK:
            return answer
        if kind == _REFUSED:
            raise UndyingError(cast(Failure, answer))
        raise ProgramFailed(answer)


class RayRuntime:
    """The runtime port over the Ray cluster that this process is connected to.

    `wiring` names a Wiring table as `package.module:ATTRIBUTE`; `preload` the modules that an empty process imports before
    it counts as up, so that a spare is fast to take. Both must be importable where the actors run.
    """

    def __init__(self, wiring: str, preload: Sequence[str] = (), *, namespace: str = "undying") -> None:
        self._wiring = wiring
        self._preload = tuple(preload)
        self._namespace = namespace

    async def spawn(self, name: str, program: Program | None = None, *, restarts: bool = False, node: str = "") -> Ref:
        """Start a process. Raises NameTaken, ProgramFailed."""
        ref = RayRef(name, await asyncio.to_thread(self._create, name, program, restarts, node))
        await ref.begun()
        return ref

    def _create(self, name: str, program: Program | None, restarts: bool, node: str) -> Any:
        options = {
            "name": name,
            "namespace": self._namespace,
            "lifetime": "detached",
            "num_cpus": 0,
            "memory": SOME_MEMORY_BYTES,
            "max_restarts": -1 if restarts else 0,
            "max_concurrency": CONCURRENCY_MAX,
            "scheduling_strategy": self._affinity(node),
        }
        try:
            return _Actor.options(**options).remote(self._wiring, self._preload, self._namespace, name, program)
        except ValueError as taken:  # how Ray says that an actor of the name exists
            raise NameTaken(name) from taken
        except RayError as lost:
            raise CallLost(f"spawn {name}: {_line(lost)}") from lost

    def _affinity(self, node: str) -> NodeAffinitySchedulingStrategy:
        if not node:
            return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        try:
            full = next((each for each in _living_nodes() if each.startswith(node)), None)
        except RayError as lost:
            raise CallLost(f"node {node}: {_line(lost)}") from lost
        if full is None:
            raise ProgramFailed(f"node {node} is gone")
        return NodeAffinitySchedulingStrategy(full, soft=False)

    async def nodes(self) -> list[str]:
        """Return the nodes that Ray believes to be alive."""
        try:
            return sorted(_short(node) for node in await asyncio.to_thread(_living_nodes))
        except RayError as lost:
            raise CallLost(f"nodes: {_line(lost)}") from lost

    async def find(self, name: str) -> Ref | None:
        """Find a living process."""
        handle = await asyncio.to_thread(self._handle, name)
        return None if handle is None else RayRef(name, handle)

    def _handle(self, name: str) -> Any | None:
        try:
            return ray.get_actor(name, self._namespace)
        except ValueError:
            return None
        except RayError as lost:
            raise CallLost(f"find {name}: {_line(lost)}") from lost

    async def is_known(self, name: str, actor_id: str | None) -> bool:
        """Tell whether Ray knows this very actor under the name. Raises CallLost."""
        handle = await asyncio.to_thread(self._handle, name)
        return handle is not None and handle._actor_id.hex() == actor_id  # noqa: SLF001 - Ray has no other way to its id

    async def names(self) -> list[str]:
        """Return the names of the processes that live, as far as Ray's control plane knows."""
        try:
            rows = await asyncio.to_thread(ray.util.list_named_actors, all_namespaces=True)
        except RayError as lost:
            raise CallLost(f"names: {_line(lost)}") from lost
        return sorted(cast(str, row["name"]) for row in rows if row["namespace"] == self._namespace)

    def has_ended(self, known: ProcessInfo) -> bool:
        """Look at the system's list of processes, on the process's own node."""
        if known.node != _node():
            return False
        try:
            process = psutil.Process(known.pid)
            zombie = process.status() == psutil.STATUS_ZOMBIE
            return zombie or not process.name().startswith(RAY_TITLE) or _is_exiting(known.pid)
        except psutil.NoSuchProcess:
            return True

    async def kill(self, name: str, known: ProcessInfo | None = None) -> None:
        """End a process for good; returns when its name is free."""
        handle = await asyncio.to_thread(self._handle, name)
        if handle is None:
            return
        try:
            await asyncio.to_thread(ray.kill, handle, no_restart=True)
        except RayError as lost:
            raise CallLost(f"kill {name}: {_line(lost)}") from lost
        if known is not None and known.node == _node():
            _end_at_once(known.pid)
        for _ in range(NAME_FREE_TRIES):
            if await asyncio.to_thread(self._handle, name) != handle:
                return
            await asyncio.sleep(NAME_FREE_S)


def _memory_bytes() -> int:
    return cast(int, psutil.Process().memory_info().rss)


def _node() -> str:
    return _short(ray.get_runtime_context().get_node_id())


def _short(node: str) -> str:
    return node[:NODE_CHARS]


def _living_nodes() -> list[str]:
    nodes: Any = ray.nodes  # which has no types
    return [str(row["NodeID"]) for row in nodes() if row["Alive"]]


def _is_exiting(pid: int) -> bool:
    """Tell, on Linux, whether the kernel takes a process apart; that takes some ms, and others see its sockets close first."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return bool(int(fields[6]) & PF_EXITING)
    except (OSError, ValueError, IndexError):
        return False


def _end_at_once(pid: int) -> None:
    """End a process of Ray's on this machine. Ray itself first asks it, and waits five seconds: one that hangs can't answer."""
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        process = psutil.Process(pid)
        if process.name().startswith(RAY_TITLE):  # the pid may be somebody else's by now
            process.kill()


def connect(address: str | None, namespace: str, directory: Path | None, object_store_bytes: int) -> None:
    """Connect this process to a cluster; start one when there is no address.

    Raises ConnectionError, RuntimeError, ValueError.
    """
    # Ray prints what its node manager has to say on our stdout, where a command's one document goes.
    ray_worker.print_to_stdstream = lambda data, ignore_prefix: _log.info("ray: %s", " ".join(data["lines"]))
    quiet: dict[str, Any] = {"namespace": namespace, "log_to_driver": False, "logging_level": "warning"}
    if address is not None:
        ray.init(address, **quiet)
        return
    try:
        ray.init(
            num_cpus=0,
            include_dashboard=False,
            object_store_memory=object_store_bytes,
            _temp_dir=None if directory is None else str(directory),
            **quiet,
        )
    except Exception as problem:  # Ray raises a bare Exception when its own processes are not up in time
        raise RuntimeError(_line(problem)) from problem


def disconnect(namespace: str) -> None:
    """End the processes of the namespace, the root first since it would bring others back, and let go of the cluster."""
    rows = ray.util.list_named_actors(all_namespaces=True)
    names = sorted((row["name"] for row in rows if row["namespace"] == namespace), key=lambda name: (name != "root", name))
    for name in names:
        try:
            ray.kill(ray.get_actor(name, namespace), no_restart=True)
        except (ValueError, RayError):  # it ended meanwhile
            continue
    ray.shutdown()


def _line(problem: Exception) -> str:
    text = str(problem).strip()
    return text.splitlines()[0] if text else type(problem).__name__
