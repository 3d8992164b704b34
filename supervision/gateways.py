"""The supervisor of the gateways: `gateway:1` to `gateway:N`, each on a process that was a spare.

A gateway that dies runs again on the next spare under the same id. A supervisor that was started again finds its
gateways by the label of their processes.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from actors.runtime import CallLost, Inside, ProcessInfo, Program, Ref
from supervision.adoption import ADOPT_S, living_processes
from supervision.control_plane import find_surely, kill_surely
from supervision.heartbeat import Heartbeat
from supervision.hosts import NAME as HOSTS
from supervision.keeper import Keeper
from supervision.reach import Reach
from supervision.spec import ChildSpec, Intensity, Siblings
from undying.protocol.data import JsonObject


@dataclass(frozen=True, slots=True)
class GatewaysSettings:
    """`count` gateways, each the program `gateway` with these settings and its id as `id`. Raises ValueError below 1."""

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

    def __init__(self, settings: GatewaysSettings, inside: Inside, rng: random.Random, clock: Callable[[], float]) -> None:
        self._inside = inside
        self._hosts = Reach(inside.runtime, HOSTS, rng, deadline_s=30.0)
        self._found: dict[str, Ref] = {}
        self._renewing: set[asyncio.Task[None]] = set()
        self._late: list[asyncio.Task[None]] = []
        self._end: asyncio.Task[None] | None = None
        specs = [_spec(f"gateway:{number}", settings) for number in range(1, settings.count + 1)]
        self._keeper = Keeper(Siblings(specs), inside.runtime, self._lease, self._adopted, rng, clock)

    async def start(self) -> None:
        """Adopt the gateways that live and begin to keep all; returns before they are up."""
        self._late = await living_processes(self._inside.runtime, self._note, within_s=ADOPT_S)
        self._keeper.begin()
        self._end = asyncio.create_task(self._give_up())

    async def stop(self) -> None:
        """End the gateways in order."""
        for task in [*self._renewing, *([self._end] if self._end is not None else [])]:
            task.cancel()
        await self._keeper.stop()

    async def status(self) -> list[JsonObject]:
        """Return a row per gateway."""
        return self._keeper.rows("gateway", self._inside.name)

    async def drain(self, node: str) -> int:
        """Replace the gateways of a node one after the other, in the background. Returns how many."""
        there = [child.spec.id for child in self._keeper.children.values() if child.info and child.info.node == node]
        task = asyncio.create_task(self._renew(there))
        self._renewing.add(task)
        task.add_done_callback(self._renewing.discard)
        return len(there)

    async def _renew(self, gateways: Sequence[str]) -> None:
        for gateway in gateways:
            await self._keeper.renew(gateway)

    async def _give_up(self) -> None:
        """Past the intensity: stop the children and end, so that the one above decides."""
        await self._keeper.escalated
        await self._keeper.stop()
        await kill_surely(self._inside.name, self._inside.runtime)

    async def _lease(self, spec: ChildSpec) -> Ref:
        place = await self._hosts.call("lease", spec.program.name, spec.program.settings, spec.program.label)
        ref = await find_surely(place["process"], self._inside.runtime)
        if ref is None:
            raise CallLost(f"{place['process']} died at once")
        return ref

    async def _note(self, ref: Ref, info: ProcessInfo) -> None:
        if info.label:
            self._found[info.label] = ref

    async def _adopted(self, spec: ChildSpec) -> Ref | None:
        return self._found.pop(spec.id, None)


def _spec(gateway: str, settings: GatewaysSettings) -> ChildSpec:
    program = Program("gateway", {**settings.gateway, "id": gateway}, gateway)
    return ChildSpec(
        gateway, program, shutdown_s=settings.shutdown_s, intensity=settings.intensity, heartbeat=settings.heartbeat
    )
