"""The supervisor of the gateways: on every node as many as are wanted, each on a process that was a spare.

    node joined ─▶ kept (its gateways run) ─▶ node closed: they end in order, clients are sent elsewhere
                        │                  └▶ node gone: they are forgotten
                        └ past the intensity ─▶ given up, tried again after AGAIN_S; when no other node has any: this ends

A gateway that dies runs again on the next spare of its node under the same id. A supervisor that was started again finds its
gateways by the labels of their processes. Ids are `gateway:1` and up; a node that joins gets the lowest free ones.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from actors.runtime import CallLost, Inside, ProcessInfo, Program, Ref, RuntimeFault
from supervision.adoption import ADOPT_S, living_processes
from supervision.control_plane import find_surely, kill_surely
from supervision.fleet import NODES_S
from supervision.heartbeat import Heartbeat
from supervision.hosts import NAME as HOSTS
from supervision.keeper import Keeper
from supervision.reach import Reach
from supervision.reporting import Tell, tell_nobody
from supervision.spec import ChildSpec, Intensity, Siblings
from undying.protocol.data import JsonObject
from undying.protocol.errors import UndyingError
from undying.resilience.tasks import vital

AGAIN_S: Final = 60.0
"""Seconds until gateways are tried again on a node on which they ended too often (its port is taken, say)."""

WAY_OUT: Final = f"gateways are tried again on this node after {AGAIN_S:g} s; when no node has any, at once"
"""What a person is told about one that failed."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class GatewaysSettings:
    """`count` gateways on each node, each the program `gateway` with these settings and its id as `id`.

    Raises ValueError below 1.
    """

    count: int = 1
    gateway: JsonObject = field(default_factory=dict)
    shutdown_s: float = 10.0
    intensity: Intensity = field(default_factory=Intensity)
    heartbeat: Heartbeat = field(default_factory=Heartbeat)

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError("a server has at least one gateway")


class GatewaysSupervisor:
    """The program `gateways`, see the module."""

    def __init__(
        self,
        settings: GatewaysSettings,
        inside: Inside,
        rng: random.Random,
        clock: Callable[[], float],
        tell: Tell = tell_nobody,
    ) -> None:
        self._settings = settings
        self._inside = inside
        self._rng = rng
        self._clock = clock
        self._tell = tell
        self._hosts = Reach(inside.runtime, HOSTS, rng, deadline_s=30.0)
        self._found: dict[str, tuple[str, Ref]] = {}
        self._keepers: dict[str, Keeper] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ending: dict[asyncio.Task[None], tuple[str, Keeper]] = {}
        self._late: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Adopt the gateways that live and begin to keep all; returns before they are up."""
        self._late = await living_processes(self._inside.runtime, self._note, within_s=ADOPT_S)
        self._take_in({self._inside.node, *(node for node, _ in self._found.values())})
        self._late.append(vital(self._follow(), "the look at nodes"))

    async def stop(self) -> None:
        """End the gateways in order."""
        for task in [*self._late, *self._tasks.values()]:
            task.cancel()
        await asyncio.gather(*self._ending, *(keeper.stop() for keeper in self._keepers.values()))

    async def status(self) -> list[JsonObject]:
        """Return a row per gateway, those that are ending too."""
        keepers = [*self._keepers.values(), *(keeper for _, keeper in self._ending.values())]
        return [row for keeper in keepers for row in keeper.rows(self._inside.name, WAY_OUT)]

    async def drain(self, node: str) -> int:
        """End the gateways of a node that was closed, in order and in the background. Returns how many are left."""
        self._let_go(node)
        return sum(len(keeper.children) for where, keeper in self._ending.values() if where == node)

    async def renew(self) -> int:
        """Replace all gateways by fresh ones, one after the other, each before the old one ends. Returns how many.

        Raises what starting one raises; the old ones that are left then stay.
        """
        renewed = 0
        for keeper in list(self._keepers.values()):
            for gateway in list(keeper.children):
                await keeper.hand_over(gateway)
                renewed += 1
        return renewed

    # ── nodes ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _follow(self) -> None:
        while True:
            try:
                self._take_in(set(await self._hosts.call("nodes")))
            except (RuntimeFault, UndyingError) as problem:
                _log.warning("which nodes there are is not known: %s", problem)
            await asyncio.sleep(NODES_S)

    def _take_in(self, nodes: Iterable[str]) -> None:
        open_ = set(nodes)
        for node in sorted(open_ - self._keepers.keys()):
            self._keep(node)
        for node in [node for node in self._keepers if node not in open_]:
            self._let_go(node)

    def _keep(self, node: str) -> None:
        specs = [_spec(gateway, self._settings) for gateway in self._ids_for(node)]
        start, find = partial(self._lease, node), partial(self._adopted, node)
        keeper = Keeper(Siblings(specs), self._inside.runtime, start, find, self._rng, self._clock, self._tell)
        self._keepers[node] = keeper
        keeper.begin()
        self._tasks[node] = asyncio.create_task(self._give_up(node, keeper))

    def _let_go(self, node: str) -> None:
        keeper, task = self._keepers.pop(node, None), self._tasks.pop(node, None)
        if task is not None:
            task.cancel()
        if keeper is not None:
            _log.info("the gateways of node %s end", node)
            ending = asyncio.create_task(keeper.stop())
            self._ending[ending] = (node, keeper)
            ending.add_done_callback(self._ending.pop)

    async def _give_up(self, node: str, keeper: Keeper) -> None:
        reason = await keeper.escalated
        await keeper.stop()
        if not any(child.state == "live" for other in self._keepers.values() for child in other.children.values()):
            # Past the intensity, and nobody is served any more: this ends, so that the one above decides.
            await kill_surely(self._inside.name, self._inside.runtime)
        _log.error("no gateway on node %s: %s", node, reason)
        await asyncio.sleep(AGAIN_S)
        self._keep(node)

    def _ids_for(self, node: str) -> list[str]:
        found = [gateway for gateway, (where, _) in self._found.items() if where == node]
        taken = {child for other, keeper in self._keepers.items() if other != node for child in keeper.children}
        taken |= {gateway for gateway, (where, _) in self._found.items() if where != node}
        numbers = (f"gateway:{number}" for number in itertools.count(1))
        free = (gateway for gateway in numbers if gateway not in taken and gateway not in found)
        return sorted([*found[: self._settings.count], *itertools.islice(free, max(0, self._settings.count - len(found)))])

    # ── one gateway ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def _lease(self, node: str, spec: ChildSpec) -> Ref:
        keeper = self._keepers.get(node)
        now = keeper.children[spec.id].ref if keeper is not None else None
        program, but = spec.program, "" if now is None else now.name
        place = await self._hosts.call("lease", program.name, program.settings, program.label, node, but)
        ref = await find_surely(place["process"], self._inside.runtime)
        if ref is None:
            raise CallLost(f"{place['process']} died at once")
        return ref

    async def _note(self, ref: Ref, info: ProcessInfo) -> None:
        if not info.label:
            return
        if info.label in self._found:  # left over from a handing over that was cut short
            await kill_surely(ref.name, self._inside.runtime)
        else:
            self._found[info.label] = (info.node, ref)

    async def _adopted(self, node: str, spec: ChildSpec) -> Ref | None:
        where, ref = self._found.pop(spec.id, ("", None))  # no other node has a gateway of this id
        return ref if where == node else None


def _spec(gateway: str, settings: GatewaysSettings) -> ChildSpec:
    program = Program("gateway", {**settings.gateway, "id": gateway}, gateway)
    return ChildSpec(
        gateway,
        program,
        shutdown_s=settings.shutdown_s,
        intensity=settings.intensity,
        heartbeat=settings.heartbeat,
        kind="gateway",
    )
