"""The hosts supervisor: owns every process that is not a supervisor (`processes`), and decides which entity lives in which.

    spare ──acquire──▶ host (entities placed there)        spare ──lease──▶ leased (a gateway)
      └──────────────────────── died: forgotten, the pool refills ───────────────────┘

It restarts no entity: it tells who was placed where (`placements`), and their supervisors, who watch the same processes,
come back with `acquire`. Started again, it finds the living processes by name and asks each what it holds.
Everything that waits for a process runs in the task of the call that wants it, so a slow one holds up nobody else.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, assert_never

from actors.runtime import Exit, Inside, ProcessDied, ProcessInfo, Program, Ref, RuntimeFault
from supervision.adoption import ADOPT_S, HOST, living_processes
from supervision.chronicle import Ending
from supervision.control_plane import kill_surely
from supervision.heartbeat import Heartbeat
from supervision.locator import SUPERVISORS
from supervision.placement import Budget, Full, HostView, Request, StartNew, TakeSpare, UseHost, place
from supervision.processes import Processes
from supervision.reach import NO_WAYS, Reach, Ways
from supervision.reporting import Tell, tell_nobody
from undying.protocol.data import JsonObject
from undying.protocol.errors import Code, UndyingError, error
from undying.resilience.tasks import vital

NAME: Final = "supervisor:hosts"
PLACED: Final = 1 << 62
"""In the place of an epoch: above all of them."""
ORPHANS_MAX: Final = 10_000
"""Streams of dead hosts that are remembered until somebody asks for them."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class HostsSettings:
    """`spares` empty processes are kept warm; `host` are the settings of the program `host`; `stop_s` bounds a host's stop."""

    spares: int = 2
    budget: Budget = field(default_factory=Budget)
    host: JsonObject = field(default_factory=dict)
    stop_s: float = 10.0
    heartbeat: Heartbeat = field(default_factory=Heartbeat)


@dataclass(slots=True)
class _Host:
    ref: Ref
    info: ProcessInfo
    ward: bool = False
    streams: dict[str, int] = field(default_factory=dict)
    """What lives there, or is about to: the epoch in which it was found, PLACED for what was placed since."""
    draining: bool = False

    def row(self) -> JsonObject:
        return {"host": self.info.name, "pid": self.info.pid, "node": self.info.node}


class HostsSupervisor:
    """The program `hosts`, see the module."""

    def __init__(
        self,
        settings: HostsSettings,
        inside: Inside,
        rng: random.Random,
        tell: Tell = tell_nobody,
        ways: Ways = NO_WAYS,
    ) -> None:
        self._tell = tell
        self._direct = ways.server(inside.name)
        self._settings = settings
        self._inside = inside
        self._rng = rng
        self._likely = Program(HOST, settings.host)
        self._processes = Processes(inside, settings.spares, self._likely, settings.heartbeat, self._gone, rng)
        self._fleet = self._processes.fleet
        self._hosts: dict[str, _Host] = {}
        self._homes: dict[str, str] = {}
        self._orphans: dict[str, str] = {}
        self._leases: dict[str, ProcessInfo] = {}
        self._coming: dict[bool, Counter[str]] = {False: Counter(), True: Counter()}
        """Hosts that are being made, by whether they are for suspects, on each node."""
        self._under_way: dict[str, asyncio.Task[JsonObject]] = {}
        self._late: list[asyncio.Task[None]] = []
        self._owners = [Reach(inside.runtime, name, rng) for name in SUPERVISORS.values()]
        self._stopping = False

    async def start(self) -> None:
        """Adopt what lives, then begin to fill the pool."""
        self._late = await living_processes(self._inside.runtime, self._adopt, within_s=ADOPT_S)
        self._fleet.refill()
        self._late.append(vital(self._fleet.follow(), "the look at nodes"))
        await self._direct.start(self)

    async def stop(self) -> None:
        """End all processes: hosts drain and stop, all at the same time, within `stop_s`; the rest is killed."""
        self._stopping = True
        self._processes.stop_watching()
        await self._direct.stop()
        for task in [*self._under_way.values(), *self._late]:
            task.cancel()
        await asyncio.gather(*(self._stop_host(host) for host in list(self._hosts.values())))
        await self._processes.finish()

    async def acquire(
        self, stream: str, avoid: str = "", near: str = "", suspect: bool = False, soon: bool = False
    ) -> JsonObject:
        """Find a place for an entity: returns `{host, pid, node}` of a host that runs.

        `soon`: an entity that wakes rather shares a host than waits for a process.

        May be called again: an entity keeps its place unless it is to be avoided. Raises UndyingError: OVERLOADED when
        there is no room, UNAVAILABLE when no host starts, DRAINING.
        """
        if self._stopping:
            raise error(Code.DRAINING, "the server is going down")
        home = self._hosts.get(self._homes.get(stream, ""))
        if home is not None and not home.draining and home.info.name != avoid:
            return home.row()
        self._forget(stream)
        asker = self._processes.infos.get(near)
        wanted = Request(stream, avoid, near, suspect, asker.node if asker is not None else "", soon)
        return await self._once(stream, self._place(wanted))

    async def release(self, streams: Sequence[str]) -> None:
        """Note that entities do not live anywhere any more. An empty host is the next one's place."""
        for stream in streams:
            self._forget(stream)

    async def placements(self) -> dict[str, str]:
        """Return where each entity was placed, stream to host: also those whose host died, until they are placed anew."""
        return {**self._orphans, **self._homes}

    async def lease(self, program: str, settings: JsonObject, label: str, node: str, but: str = "") -> JsonObject:
        """Run another program on a spare of a node. Returns `{process, pid, node}`. Raises UndyingError UNAVAILABLE, DRAINING.

        Called again for a label that lives, it returns that process, unless it is `but`.
        """
        if self._stopping:
            raise error(Code.DRAINING, "the server is going down")
        return await self._once(label, self._lease(Program(program, settings, label), node, but))

    async def nodes(self) -> list[str]:
        """Return the nodes that may be used."""
        return self._fleet.open

    async def drain(self, node: str) -> int:
        """Empty a node, in the background: nothing new comes there, its hosts are emptied one after the other and end.

        Returns how many hosts are left there. Raises UndyingError WRONG_STATE when it is the only node.
        """
        if not [other for other in self._fleet.open if other != node]:
            raise error(Code.WRONG_STATE, f"there is no node but {node} to go to; a restart replaces its processes", node=node)
        spares = self._fleet.pool(node).names if node in self._fleet.open else []
        self._fleet.close(node)
        there = [host for host in self._hosts.values() if host.info.node == node]
        self._processes.do_late(self._replace([host for host in there if not host.draining], spares))
        return len(there)

    async def undrain(self, node: str) -> None:
        """Use a node again that was to be drained. No error when it was not."""
        self._fleet.reopen(node)

    async def renew_spares(self) -> int:
        """Replace all spares by fresh ones: before anything else is, since who is replaced takes a spare. Returns how many."""
        spares = [name for name, _ in self._processes.spares()]
        await self._replace([], spares)
        return len(spares)

    async def renew(self) -> int:
        """Replace all hosts by fresh ones, in order; what lives there moves. Returns how many there were."""
        hosts = [host for host in self._hosts.values() if not host.draining]
        await self._replace(hosts, [])
        return len(hosts)

    async def _replace(self, hosts: Sequence[_Host], spares: Sequence[str]) -> None:
        for host in hosts:
            host.draining = True  # all of them, so that nobody moves to one whose turn is still to come
        for name in spares:
            await self._processes.end_spare(name)
        for host in hosts:
            await self._empty(host)

    async def _empty(self, host: _Host) -> None:
        name = host.info.name
        host.draining = True
        _log.info("emptying %s of %d", name, len(host.streams))
        try:
            for owner in self._owners:
                await owner.call("leave", name)
            async with asyncio.timeout(self._settings.stop_s):
                await host.ref.call("drain")
        except (RuntimeFault, UndyingError, TimeoutError) as problem:
            _log.warning("host %s did not drain in order: %r", name, problem)
        for owner in self._owners:
            try:
                await owner.call("left", name)
            except (RuntimeFault, UndyingError) as problem:  # its entities come back after a while by themselves
                _log.warning("%s does not know that %s is empty: %r", owner, name, problem)
        await self._stop_host(host)
        self._hosts.pop(name, None)

    async def status(self) -> list[JsonObject]:
        """Return a row per spare, live once it is warm, and per host that is being emptied, as a spare that drains.

        Other hosts show as their entities, leased processes at their owner.
        """
        spares = [(name, "live" if warm else "starting") for name, warm in self._processes.spares()]
        spares += [(name, "draining") for name, host in self._hosts.items() if host.draining]
        rows: list[JsonObject] = []
        for number, (name, state) in enumerate(spares, 1):
            info = self._processes.infos.get(name)
            row: JsonObject = {"id": f"spare:{number}", "kind": "spare", "state": state, "pid": info.pid if info else None}
            row |= {"node": info.node if info else None, "epoch": None, "restarts": 0, "last_exit": None}
            rows.append({**row, "parent": self._inside.name})
        return rows

    async def _once(self, key: str, work: Coroutine[Any, Any, JsonObject]) -> JsonObject:
        """Share one piece of work between those who ask for it at the same time; it goes on when they go away."""
        task = self._under_way.get(key)
        if task is None:
            task = self._under_way[key] = asyncio.create_task(work)
            task.add_done_callback(lambda done: self._finished(key, done))
        else:
            work.close()
        return await asyncio.shield(task)

    def _finished(self, key: str, done: asyncio.Task[JsonObject]) -> None:
        del self._under_way[key]
        if not done.cancelled() and done.exception() is not None:
            _log.info("%s: %s", key, done.exception())

    async def _lease(self, program: Program, node: str, but: str) -> JsonObject:
        held = (info for info in self._leases.values() if info.label == program.label and info.name != but)
        info = next(held, None)
        if info is None or not await self._processes.answers(info.name):
            _, info = await self._run(program, node)
            self._leases[info.name] = info
        return {"process": info.name, "pid": info.pid, "node": info.node}

    async def _place(self, request: Request) -> JsonObject:
        views = [
            HostView(host.info.name, host.info.node, len(host.streams), host.ward)
            for host in self._hosts.values()
            if not host.draining
        ]
        nodes = self._fleet.views(self._coming[request.suspect], (info.node for info in self._processes.infos.values()))
        choice = place(request, views, nodes, self._settings.budget)
        match choice:
            case UseHost(name):
                host = self._hosts[name]
                host.ward = request.suspect
            case Full():
                raise error(Code.OVERLOADED, "the server has no room for one more", stream=request.stream)
            case TakeSpare(name, node):
                host = await self._make_host(request, node, name)
            case StartNew(node):
                host = await self._make_host(request, node, "")
            case _:
                assert_never(choice)
        host.streams[request.stream] = PLACED
        self._homes[request.stream] = host.info.name
        self._orphans.pop(request.stream, None)
        return host.row()

    async def _run(self, program: Program, node: str, spare: str = "") -> tuple[Ref, ProcessInfo]:
        ref, info = await self._processes.run(program, node, spare)
        if node not in self._fleet.open:  # it was closed meanwhile, and whoever emptied it did not know of this one
            await kill_surely(ref.name, self._inside.runtime, info)
            raise error(Code.UNAVAILABLE, f"{node} takes no {program.name}", node=node)
        return ref, info

    async def _make_host(self, request: Request, node: str, spare: str) -> _Host:
        self._coming[request.suspect][node] += 1
        try:
            ref, info = await self._run(self._likely, node, spare)
        finally:
            self._coming[request.suspect][node] -= 1
        host = self._hosts[info.name] = _Host(ref, info, request.suspect)
        return host

    def _gone(self, name: str, info: ProcessInfo | None, exit_: Exit) -> None:
        leased, host = self._leases.pop(name, None), self._hosts.pop(name, None)
        if leased is None and exit_.reason != "stopped":  # its owner tells of the one, and the other was to end
            kind, node = "spare" if host is None else HOST, info.node if info is not None else ""
            self._tell(Ending(name, kind, name, node, exit_, "replaced"))
        for stream in host.streams if host else ():
            if self._homes.get(stream) == name:
                del self._homes[stream]
                self._remember_orphan(stream, name)

    def _remember_orphan(self, stream: str, host: str) -> None:
        self._orphans[stream] = host
        if len(self._orphans) > ORPHANS_MAX:
            del self._orphans[next(iter(self._orphans))]

    def _forget(self, stream: str) -> None:
        self._orphans.pop(stream, None)
        host = self._hosts.get(self._homes.pop(stream, ""))
        if host is not None:
            host.streams.pop(stream, None)
            host.ward = host.ward and bool(host.streams)
            if not host.streams:
                self._retire_surplus()

    def _retire_surplus(self) -> None:
        """End empty hosts, but for as many on each node as there are to be spares: a new entity takes one of those first."""
        for node in {host.info.node for host in self._hosts.values()}:
            hosts = [(name, host) for name, host in self._hosts.items() if host.info.node == node and not host.draining]
            empty = [name for name, host in hosts if not host.streams]
            for name in empty[self._settings.spares :]:
                self._processes.do_late(self._stop_host(self._hosts.pop(name)))

    async def _adopt(self, ref: Ref, info: ProcessInfo) -> None:
        self._processes.adopt(ref, info)
        if info.program == HOST:
            rows: list[Mapping[str, Any]] = await ref.call("status")
            draining = bool(await ref.call("is_draining"))
            host = self._hosts.setdefault(ref.name, _Host(ref, info, draining=draining))
            for row in rows:
                self._find_in(host, row["id"], row["epoch"])
            if draining:  # whoever wanted that has died: it takes nobody in any more
                self._processes.do_late(self._empty(host))
        elif info.program is not None:
            self._leases[ref.name] = info

    def _find_in(self, host: _Host, stream: str, epoch: int) -> None:
        """Note that an entity lives in a host, unless a newer life of it is known: that one has fenced it, or is about to."""
        other = self._hosts.get(self._homes.get(stream, ""))
        if other is not None and other.streams.get(stream, 0) > epoch:
            return
        if other is not None:
            other.streams.pop(stream, None)
        host.streams[stream], self._homes[stream] = epoch, host.info.name

    async def _stop_host(self, host: _Host) -> None:
        try:
            async with asyncio.timeout(self._settings.stop_s):
                await host.ref.call("drain")
                await host.ref.call("stop")
        except ProcessDied:
            pass  # it is gone, which is what was wanted
        except (RuntimeFault, UndyingError, TimeoutError) as problem:
            _log.warning("host %s did not stop in order: %r", host.info.name, problem)
            await kill_surely(host.info.name, self._inside.runtime, host.info)
