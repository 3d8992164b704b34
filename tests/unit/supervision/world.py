"""A small server in one virtual loop: the real supervisors, and hosts and gateways that only pretend."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from actors.runtime import Inside, Program, Ref
from actors.runtime_local import LocalRuntime
from persistence.memory import MemoryDatabase, MemoryStore
from supervision.entities import EntitySettings, EntitySupervisor
from supervision.gateways import GatewaysSettings, GatewaysSupervisor
from supervision.hosts import HostsSettings, HostsSupervisor
from supervision.locator import Locator
from supervision.placement import Budget
from supervision.reporting import TRACKER, Reporter, Tell
from supervision.root import RootSupervisor, supervisor_specs
from supervision.tracker import Log, Tracker
from undying.protocol.data import JsonObject
from undying.protocol.errors import Code, Failure, UndyingError, error
from undying.protocol.ids import Kind

SPAWN_S = 0.8
PATIENCE_S = 60.0


@dataclass
class World:
    """What the pretended store knows, and what is to go wrong."""

    spares: int = 2
    budget: Budget = field(default_factory=Budget)
    gateways: int = 1
    nodes: Sequence[str] = ("local",)
    epochs: dict[str, int] = field(default_factory=dict)
    deadly: set[str] = field(default_factory=set)
    """Streams that end the process that activates them."""
    refused: dict[str, Failure] = field(default_factory=dict)
    """Streams that can't be activated, and why."""
    stuck: set[str] = field(default_factory=set)
    """Streams whose activation never returns."""
    trackers_fail: bool = False
    """Whether no tracker can be built."""
    activations: list[tuple[str, str]] = field(default_factory=list)
    rolled_back: list[tuple[str, list[int]]] = field(default_factory=list)
    drained: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = random.Random(7)
        self.database = MemoryDatabase()
        self.lives = itertools.count()
        self.runtime = LocalRuntime(
            {
                "host": lambda settings, inside: FakeHost(self, inside),
                "gateway": lambda settings, inside: FakeGateway(self, settings, inside),
                "hosts": lambda settings, inside: HostsSupervisor(
                    HostsSettings(self.spares, self.budget), inside, self.rng, self.tell(inside)
                ),
                "sessions": lambda settings, inside: self.entities(Kind.SESSION, inside),
                "characters": lambda settings, inside: self.entities(Kind.CHARACTER, inside),
                "providers": lambda settings, inside: self.entities(Kind.PROVIDER, inside),
                "gateways": lambda settings, inside: GatewaysSupervisor(
                    GatewaysSettings(self.gateways), inside, self.rng, self.clock, self.tell(inside)
                ),
                TRACKER: lambda settings, inside: self.tracker(),
                "root": lambda settings, inside: RootSupervisor(
                    supervisor_specs({}), inside, self.rng, self.clock, lambda: self.runtime.crash("root"), self.tell(inside)
                ),
            },
            nodes=self.nodes,
            spawn_s=SPAWN_S,
        )

    def clock(self) -> float:
        return asyncio.get_running_loop().time()

    def entities(self, kind: Kind, inside: Inside) -> EntitySupervisor:
        return EntitySupervisor(kind, EntitySettings(), inside, self.rng, self.clock, self.tell(inside))

    def tell(self, inside: Inside) -> Tell:
        return Reporter(inside, random.Random(next(self.lives)), lambda: int(self.clock() * 1000)).tell

    def tracker(self) -> Tracker:
        if self.trackers_fail:
            raise RuntimeError("no tracker can be built")
        return Tracker(self.open_log, random.Random(7))

    async def open_log(self) -> Log:
        return MemoryStore(self.database)

    async def endings(self) -> list[dict[str, Any]]:
        """Return what the tracker knows, the latest first; nothing when it is away."""
        tracker = await self.runtime.find(TRACKER)
        return [] if tracker is None else (await tracker.call("endings", 1000))["history"]

    async def up(self) -> Ref:
        """Start the whole tree and wait until the spares are warm and the gateways live."""
        root = await self.runtime.spawn("root", Program("root"), restarts=True)
        await self.until(self.is_calm)
        return root

    async def is_calm(self) -> bool:
        rows = await self.rows()
        kinds = [row["kind"] for row in rows.values() if row["state"] == "live"]
        nodes = len(await self.runtime.nodes())
        return kinds.count("gateway") == self.gateways * nodes and kinds.count("spare") == self.spares * nodes

    async def rows(self) -> dict[str, JsonObject]:
        root = await self.runtime.find("root")
        return {} if root is None else {row["id"]: row for row in await root.call("status")}

    async def host_of(self, stream: str, *, create: bool = False, avoid: str = "") -> str:
        """Return the name of the host in which a stream is live."""
        return (await Locator(self.runtime, self.rng).locate(stream, create, avoid)).name

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not await condition():  # noqa: ASYNC110 - virtual time
                await asyncio.sleep(0.01)


class FakeHost:
    """Lets streams be live, as the world wants it."""

    def __init__(self, world: World, inside: Inside) -> None:
        self._world = world
        self._inside = inside
        self._live: dict[str, int] = {}
        self._draining = False

    async def start(self) -> None:
        return None

    async def stop(self) -> None:
        self._world.stopped.append(self._inside.name)

    async def is_draining(self) -> bool:
        return self._draining

    async def drain(self) -> None:
        self._world.drained.append(self._inside.name)
        self._draining = True
        self._live.clear()

    async def activate(self, stream: str, create: bool) -> list[int]:
        world = self._world
        world.activations.append((stream, self._inside.name))
        if self._draining:
            raise error(Code.DRAINING, "going down")
        if stream in world.deadly:
            await self._inside.runtime.kill(self._inside.name)
        if stream in world.stuck:
            await asyncio.Event().wait()
        if stream in world.refused:
            raise UndyingError(world.refused[stream])
        if stream not in world.epochs and not create:
            raise error(Code.NOT_FOUND, "never created", stream=stream)
        if stream not in self._live:
            await asyncio.sleep(0.005)
            self._live[stream] = world.epochs[stream] = world.epochs.get(stream, 0) + 1
        return [self._live[stream], 0]

    async def roll_back(self, stream: str, to: list[int]) -> list[int]:
        self._world.rolled_back.append((stream, to))
        return [*await self.activate(stream, create=False), 7]

    async def status(self) -> list[JsonObject]:
        return [{"id": stream, "epoch": epoch, "seq": 0, "state": "live"} for stream, epoch in self._live.items()]


class FakeGateway:
    """Is there."""

    def __init__(self, world: World, settings: JsonObject, inside: Inside) -> None:
        self._world = world
        self._id = str(settings["id"])

    async def start(self) -> None:
        return None

    async def stop(self) -> None:
        self._world.stopped.append(self._id)
