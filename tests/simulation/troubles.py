"""What goes wrong in a run, and when: deaths, hangs, cut connections, a store that is away, and operators who are at work then.

Each thing is counted in the weather's `seen`, since what never happens tests nothing.
"""

from __future__ import annotations

import asyncio
from typing import Final

from actors.runtime import RuntimeFault
from supervision.locator import SUPERVISORS as OWNERS
from tests.simulation.world import SUPERVISORS, World
from undying.protocol.data import JsonObject
from undying.protocol.errors import Code, UndyingError
from undying.protocol.ids import split_stream

FAULTS_S: Final = 12.0
HAUNT_S: Final = 60.0
"""Seconds within which an entity that dies again and again is in quarantine."""
DRAINED_S: Final = 10.0
"""Seconds until an operator looks whether a node is empty, and drains it again if not."""
TROUBLES: Final = ["host", "host", "gateway", "supervisor", "root", "hang", "hang", "cut", "cut", "store", "operator"]
KILLED_MEANWHILE: Final = ["root", "hosts", "sessions", "characters", "gateways", "host", "host"]

MUST_HAPPEN: Final = frozenset(
    {
        "a quarantine",
        "a readmission",
        "a rest",
        "a supervisor dies at a rest",
        "a process starts late",
        "a process does not start",
        "a drain",
        "a node is used again",
        "a restart of everything",
        *(f"{victim} dies in {what}" for victim in KILLED_MEANWHILE for what in ("a drain", "a restart of everything")),
    }
)
"""What many runs must have seen, beside deaths and hangs, which each of them sees."""


class Troubles:
    """The troubles of one world. `drained` is the node that an operator wants to be empty, or nothing."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rng = world.rng
        self._seen = world.weather.seen
        self._orders: set[asyncio.Task[None]] = set()
        self.drained = ""

    async def make(self) -> None:
        """Make a few things go wrong, at random times, for `FAULTS_S`."""
        rng, world = self._rng, self._world
        end_s = asyncio.get_running_loop().time() + FAULTS_S
        while (left_s := end_s - asyncio.get_running_loop().time()) > 0:
            await asyncio.sleep(min(left_s, rng.expovariate(0.6)))
            match rng.choice(TROUBLES):
                case "supervisor":
                    world.crash(rng.choice(SUPERVISORS))
                case "hang":
                    world.hang(rng.choice(["host", "host", "host", *SUPERVISORS]), rng.expovariate(0.15))
                case "cut":
                    world.network.cut_one()
                case "store":
                    world.weather.store_down = True
                    await asyncio.sleep(rng.uniform(0.05, 2.0))
                    world.weather.store_down = False
                case "operator":
                    self._operate()
                case program:
                    world.crash(program)

    async def make_peace(self) -> None:
        """Let nothing go wrong any more; half of the nodes that were to be empty are used again."""
        world = self._world
        world.weather.storm, world.weather.store_down = 0.0, False
        for order in self._orders:
            order.cancel()
        if self.drained and self._rng.random() < 0.5:
            await world.persist(lambda: world.order("root", "undrain", self.drained))
            self.drained = ""

    async def drained_for_good(self) -> None:
        """Return when the node that was to be empty is. It is drained again until then: who knew of that may have died."""
        world = self._world
        while self.drained and world.processes_on(self.drained):
            await world.persist(lambda: world.order("root", "drain", self.drained))
            await asyncio.sleep(DRAINED_S)

    async def haunt(self, stream: str) -> None:
        """Kill the host of an entity each time it has come to life, until it is in quarantine; then have it tried again."""
        world, owner = self._world, OWNERS[split_stream(stream)[0]]
        async with asyncio.timeout(HAUNT_S):
            while (row := await self._row(owner, stream)).get("state") != "quarantined":
                if row.get("host") is not None:
                    world.runtime.crash(str(row["host"]))
                await asyncio.sleep(0.05)
        self._seen["a quarantine"] += 1
        await asyncio.sleep(self._rng.uniform(0, 5))
        await world.persist(lambda: world.order(owner, "readmit", stream))
        self._seen["a readmission"] += 1
        world.network.cut_all()  # a stream that was gone is shown again to who joins again

    async def _row(self, owner: str, stream: str) -> JsonObject:
        rows = await self._world.persist(lambda: self._world.order(owner, "status"))
        return next((row for row in rows if row["id"] == stream), {})

    def _operate(self) -> None:
        """Let an operator restart everything, drain a node or use it again, and mostly let something die meanwhile."""
        nodes = self._world.nodes
        if len(nodes) == 1 or self._rng.random() < 0.2:
            self._order("a restart of everything", nodes, "restart")
        elif self.drained and self._rng.random() < 0.5:
            self._order("a node is used again", [], "undrain", self.drained)
            self.drained = ""
        else:
            self.drained = self.drained or self._rng.choice(nodes)
            self._order("a drain", [self.drained], "drain", self.drained)

    def _order(self, what: str, nodes: list[str], method: str, *args: str) -> None:
        old = {name for node in nodes for name in self._world.processes_on(node)}
        self._keep(asyncio.create_task(self._ordered(what, method, args)))
        if old and self._rng.random() < 0.8:
            self._keep(asyncio.create_task(self._kill_meanwhile(what, old)))

    async def _ordered(self, what: str, method: str, args: tuple[str, ...]) -> None:
        try:
            await self._world.order("root", method, *args)
            self._seen[what] += 1
        except UndyingError as refused:
            if refused.failure.code not in (Code.UNAVAILABLE, Code.NOT_FOUND, Code.WRONG_STATE):
                raise
        except RuntimeFault:
            pass  # nobody there, or the answer is lost; an operator would try again

    async def _kill_meanwhile(self, what: str, old: set[str]) -> None:
        world = self._world
        await asyncio.sleep(self._rng.uniform(0.0, 1.0))
        victim = self._rng.choice(KILLED_MEANWHILE)
        if any(name in old for node in world.nodes for name in world.processes_on(node)):
            self._seen[f"{victim} dies in {what}"] += 1
        world.crash(victim)

    def _keep(self, order: asyncio.Task[None]) -> None:
        self._orders.add(order)
        order.add_done_callback(self._orders.discard)
