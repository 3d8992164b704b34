"""A whole server, in one process: the real supervisors, hosts and hubs over a local runtime and a store in memory."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import Any, Final, TypeVar

from actors.character import CharacterRules
from actors.host import Host, HostSettings
from actors.peers import LocatedPeers
from actors.provider import ProviderRules
from actors.rules import Rules
from actors.runtime import CallLost, Inside, Program, RuntimeFault, Wiring
from actors.runtime_local import LocalRuntime
from actors.session import SessionRules
from gateway.auth import Tokens
from gateway.hub import Hub, HubSettings
from gateway.metrics import Metrics
from gateway.tables import HubTables
from persistence.memory import MemoryDatabase, MemoryStore
from persistence.migrations import Upcasters
from supervision.entities import EntitySettings, EntitySupervisor
from supervision.gateways import GatewaysSettings, GatewaysSupervisor
from supervision.hosts import HostsSettings, HostsSupervisor
from supervision.locator import Locator
from supervision.placement import Budget
from supervision.reporting import TRACKER, Reporter, Tell
from supervision.root import RootSupervisor, supervisor_specs
from supervision.tracker import Tracker
from tests.simulation.network import Network
from tests.simulation.weather import FaultyStore, Weather, now_ms
from undying.cli.wiring.gateway import HostRefs, StoredDirectory, Supervisors
from undying.cli.wiring.host import RestTellers
from undying.protocol.data import JsonObject
from undying.protocol.errors import UndyingError
from undying.protocol.ids import Kind, Role

RULES: Final[dict[Kind, Rules[Any]]] = {
    Kind.SESSION: SessionRules(),
    Kind.CHARACTER: CharacterRules(),
    Kind.PROVIDER: ProviderRules(),
}
NODES_SHARE: Final = 0.3
"""Of all worlds, those that have two nodes."""
SUPERVISORS: Final = ("hosts", "sessions", "characters", "providers", "gateways", TRACKER)
SECRET: Final = b"simulated secret of 32 bytes or more"

T = TypeVar("T")


class SimulatedGateway:
    """The program `gateway` on the simulated network."""

    def __init__(
        self,
        inside: Inside,
        hub: Hub,
        tables: HubTables,
        network: Network,
        died: Callable[[str, Callable[[], None]], None],
    ) -> None:
        self._died = died
        self._inside = inside
        self._hub = hub
        self._tables = tables
        self._network = network

    async def start(self) -> None:
        """Listen."""
        self._hub.start()
        name = self._inside.name
        self._network.listen(name, self._hub.accept)
        self._died(name, lambda: self._network.process_died(name))

    async def stop(self) -> None:
        """End."""
        self._network.process_died(self._inside.name)
        self._hub.stop()

    async def create_session(self, name: str) -> str:
        """Create a table."""
        return await self._tables.create_session(name)

    async def status(self) -> list[JsonObject]:
        """Return nothing that anyone needs."""
        return []


class World:
    """One simulated server. Everything that is drawn comes from `rng`."""

    def __init__(self, rng: random.Random, *, shared_hosts: bool) -> None:
        self.rng = rng
        self.weather = Weather(random.Random(rng.random()))
        self.network = Network(self.weather, random.Random(rng.random()))
        self.database = MemoryDatabase()
        self.tokens = Tokens(SECRET, lambda: now_ms() / 1000, lambda: f"{rng.getrandbits(64):x}")
        self.nodes = ["n1", "n2"] if rng.random() < NODES_SHARE else ["n1"]
        self.runtime = LocalRuntime(
            self._wiring(),
            faults=self.weather,
            nodes=self.nodes,
            spawn_s=0.6,
            root_restart_s=2.0,
            before_spawn=self.weather.before_spawn,
        )
        self.rest_s = rng.choice([0.0, 2.0])
        self._per_node = 2 // len(self.nodes)
        self._budget = Budget(hosts_per_node=2 if shared_hosts else 16)
        self._watching: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Start the root and wait until a gateway listens."""
        await self.runtime.spawn("root", Program("root"), restarts=True)

    async def create_session(self) -> str:
        """Create a table through whatever gateway is up."""
        return await self.persist(self._create_session)

    async def _create_session(self) -> str:
        for name in await self.runtime.names():
            ref = await self.runtime.find(name)
            if ref is not None and (await ref.info()).program == "gateway":
                return str(await ref.call("create_session", "a table"))
        raise RuntimeFault("no gateway yet")

    def _when_dead(self, name: str, then: Callable[[], None]) -> None:
        """Let something happen when a process is gone, however it ends."""

        async def wait() -> None:
            ref = await self.runtime.find(name)
            if ref is not None:
                await ref.watch()
            then()

        task = asyncio.get_running_loop().create_task(wait(), context=Context())
        self._watching.add(task)
        task.add_done_callback(self._watching.discard)

    async def order(self, process: str, method: str, *args: Any) -> Any:
        """Ask a process for something, as an operator does. Raises RuntimeFault, UndyingError."""
        ref = await self.runtime.find(process)
        if ref is None:
            raise CallLost(f"no {process}")
        return await ref.call(method, *args)

    def processes_on(self, node: str) -> set[str]:
        """Return the names of the hosts and gateways on a node."""
        return {*self.runtime.running("host", node), *self.runtime.running("gateway", node)}

    @staticmethod
    async def persist(work: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                return await work()
            except (RuntimeFault, UndyingError):
                await asyncio.sleep(0.05)

    def invite(self, session: str, user: str, role: Role) -> str:
        """Sign a join token."""
        return self.tokens.join_token(session, user, user, role, 10**6)

    def crash(self, program: str) -> None:
        """Kill -9 a random process that runs this program."""
        name = self._one_that_runs(program)
        if name is not None:
            self.runtime.crash(name)

    def hang(self, program: str, for_s: float) -> None:
        """Let a random process that runs this program stand still for a while, as SIGSTOP and SIGCONT do."""
        name = self._one_that_runs(program)
        if name is not None:
            self.runtime.freeze(name)
            asyncio.get_running_loop().call_later(for_s, self.runtime.thaw, name)

    def _one_that_runs(self, program: str) -> str | None:
        victims = self.runtime.running(program)
        return self.rng.choice(victims) if victims else None

    # -- wiring ----------------------------------------------------------------------------------------------------

    def _wiring(self) -> Wiring:
        def root(_: JsonObject, inside: Inside) -> RootSupervisor:
            specs = supervisor_specs({})
            return RootSupervisor(specs, inside, self._rng(), _clock, lambda: self.runtime.crash(inside.name), tell(inside))

        def hosts(_: JsonObject, inside: Inside) -> HostsSupervisor:
            return HostsSupervisor(HostsSettings(self._per_node, self._budget), inside, self._rng(), tell(inside))

        def gateways(_: JsonObject, inside: Inside) -> GatewaysSupervisor:
            return GatewaysSupervisor(GatewaysSettings(self._per_node), inside, self._rng(), _clock, tell(inside))

        def entities(kind: Kind) -> Any:
            return lambda _, inside: EntitySupervisor(kind, EntitySettings(), inside, self._rng(), _clock, tell(inside))

        def tell(inside: Inside) -> Tell:
            return Reporter(inside, self._rng(), now_ms).tell

        return {
            "root": root,
            "hosts": hosts,
            "gateways": gateways,
            "sessions": entities(Kind.SESSION),
            "characters": entities(Kind.CHARACTER),
            "providers": entities(Kind.PROVIDER),
            TRACKER: lambda _, inside: Tracker(self._open_store, self._rng()),
            "host": self._host,
            "gateway": self._gateway,
        }

    def _rng(self) -> random.Random:
        return random.Random(self.rng.random())

    async def _open_store(self) -> FaultyStore:
        return self._store()

    def _store(self) -> FaultyStore:
        return FaultyStore(MemoryStore(self.database), self.weather)

    def _host(self, _: JsonObject, inside: Inside) -> Host:
        rng = self._rng()
        locator = Locator(inside.runtime, rng, near=inside.name)
        return Host(
            self._store(),
            RULES,
            Upcasters(),
            lambda host: LocatedPeers(host, locator),
            HostSettings(checkpoint_events=20, checkpoint_s=5.0, rest_s=self.rest_s),
            now_ms,
            rng,
            self._teller(RestTellers(inside, rng)),
        )

    def _teller(self, tellers: RestTellers) -> Callable[[Sequence[tuple[str, int]]], Awaitable[None]]:
        """Let supervisors die, some of the time, just when they are told of a rest, or act on it."""

        async def tell(lives: Sequence[tuple[str, int]]) -> None:
            seen = self.weather.seen
            seen["a rest"] += len(lives)
            if self.weather.strikes(0.5):
                seen["a supervisor dies at a rest"] += 1
                victim, after_s = self.rng.choice(["root", *SUPERVISORS]), self.rng.uniform(0, 0.02)
                asyncio.get_running_loop().call_later(after_s, self.crash, victim, context=Context())
            await tellers.tell(lives)

        return tell

    def _gateway(self, settings: JsonObject, inside: Inside) -> SimulatedGateway:
        rng = self._rng()
        locator = HostRefs(Locator(inside.runtime, rng, near=inside.name), inside.runtime, lambda _: None)
        hub_settings = HubSettings(rate_per_s=0)
        name = f"{settings['id']}/{rng.getrandbits(48):x}"
        hub = Hub(name, locator, self.tokens, hub_settings, Metrics(), rng, now_ms)
        tables = HubTables(hub, StoredDirectory(self._store()), Supervisors(inside, rng))
        return SimulatedGateway(inside, hub, tables, self.network, self._when_dead)


def _clock() -> float:
    return asyncio.get_running_loop().time()
