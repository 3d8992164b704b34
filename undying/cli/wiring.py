"""The composition root: every program of a server by name, built from the server's settings.

The only module that knows all layers. A process looks its program up here, by the import string that the runtime carries.
"""

from __future__ import annotations

import random
import time
from typing import Any, Final, cast

import msgpack
import structlog

from actors.character import CharacterRules
from actors.host import Host, HostSettings
from actors.peers import LocatedPeers
from actors.provider import ProviderRules
from actors.rules import Rules
from actors.runtime import Inside, Ref, RuntimeFault, Wiring
from actors.session import SessionRules
from gateway.app import Api, AppSettings
from gateway.auth import AdminAuth, Tokens
from gateway.hub import Hub, HubSettings
from gateway.metrics import Metrics
from gateway.ports import HostGone, HostPort
from gateway.program import Gateway, GatewaySettings
from gateway.sockets import SocketSettings
from gateway.tables import HubTables
from persistence.migrations import Upcasters
from persistence.redis_store import RedisStore
from persistence.store import Store, StoreUnavailable
from supervision.entities import EntitySettings, EntitySupervisor
from supervision.gateways import GatewaysSettings, GatewaysSupervisor
from supervision.heartbeat import Heartbeat
from supervision.hosts import HostsSettings, HostsSupervisor
from supervision.locator import Locator
from supervision.placement import Budget
from supervision.reach import Reach
from supervision.root import RootSupervisor, supervisor_specs
from undying.cli import logs
from undying.cli.settings import ServeSettings
from undying.protocol.data import JsonObject
from undying.protocol.errors import Code, error
from undying.protocol.ids import Kind

RULES: Final[dict[Kind, Rules[Any]]] = {
    Kind.SESSION: SessionRules(),
    Kind.CHARACTER: CharacterRules(),
    Kind.PROVIDER: ProviderRules(),
}
UPCASTERS: Final = Upcasters()
SECRET: Final = "tokens"
RATE_BURST_FACTOR: Final = 2
ROOT: Final = "root"


def now_ms() -> int:
    """Return the time in ms since 1970."""
    return time.time_ns() // 1_000_000


async def build_host(settings: JsonObject, inside: Inside) -> Host:
    """Build the program `host`. Raises UndyingError DATABASE_UNAVAILABLE."""
    serve = _settings(settings, inside)
    rng = random.Random()
    locator = Locator(inside.runtime, rng, near=inside.name)
    return Host(
        store=await _store(serve),
        rules=RULES,
        upcasters=UPCASTERS,
        peers=lambda host: LocatedPeers(host, locator),
        settings=HostSettings(serve.checkpoint_events, serve.checkpoint_s),
        now_ms=now_ms,
        rng=rng,
    )


async def build_gateway(settings: JsonObject, inside: Inside) -> Gateway:
    """Build the program `gateway`. Raises UndyingError DATABASE_UNAVAILABLE."""
    gateway_id = str(settings["id"])
    serve = _settings({key: value for key, value in settings.items() if key != "id"}, inside)
    rng = random.Random()
    store = await _store(serve)
    tokens = Tokens(await store.secret(SECRET, random.SystemRandom().randbytes(32)), time.time)
    metrics = Metrics()
    hub_settings = HubSettings(node=inside.node, rate_per_s=serve.rate_limit, rate_burst=serve.rate_limit * RATE_BURST_FACTOR)
    locator = HostRefs(Locator(inside.runtime, rng))
    hub = Hub(f"{gateway_id}/{rng.randbytes(6).hex()}", locator, tokens, hub_settings, metrics, rng, now_ms)
    tables = HubTables(hub, StoredDirectory(store), RootOverview(inside, rng))
    assert serve.admin_token is not None
    api = Api(
        tables=tables,
        tokens=tokens,
        admin=AdminAuth(serve.admin_token),
        limits=hub.limits,
        metrics=metrics,
        rng=rng,
        settings=AppSettings(public_url=serve.public_url),
    )

    async def opening() -> None:
        hub.start()

    async def closing() -> None:
        hub.stop()
        await store.close()

    where = GatewaySettings(host=serve.host, port=serve.port, sockets=SocketSettings(frame_max=hub_settings.frame_bytes_max))
    return Gateway(where, hub.accept, api.app(), metrics, rng, opening, closing)


def build_root(settings: JsonObject, inside: Inside) -> RootSupervisor:
    """Build the program `root`: the same settings for every supervisor."""
    serve = _settings(settings, inside)
    programs = ("hosts", "sessions", "characters", "providers", "gateways")
    specs = supervisor_specs({program: serve.to_plain() for program in programs}, heartbeat=_heartbeat(serve))
    return RootSupervisor(specs, inside, random.Random(), time.monotonic)


def build_hosts(settings: JsonObject, inside: Inside) -> HostsSupervisor:
    """Build the program `hosts`."""
    serve = _settings(settings, inside)
    budget = Budget(hosts_per_node=serve.actors_per_node, entities_per_host_max=ENTITIES_PER_HOST_MAX)
    return HostsSupervisor(HostsSettings(serve.spares, budget, settings, heartbeat=_heartbeat(serve)), inside, random.Random())


def build_gateways(settings: JsonObject, inside: Inside) -> GatewaysSupervisor:
    """Build the program `gateways`."""
    serve = _settings(settings, inside)
    gateways = GatewaysSettings(serve.gateways, settings, heartbeat=_heartbeat(serve))
    return GatewaysSupervisor(gateways, inside, random.Random(), time.monotonic)


def _entities(kind: Kind) -> Any:
    def build(settings: JsonObject, inside: Inside) -> EntitySupervisor:
        _settings(settings, inside)
        return EntitySupervisor(kind, EntitySettings(), inside, random.Random(), time.monotonic)

    return build


ENTITIES_PER_HOST_MAX: Final = 20_000
"""Entities that one shared host takes: their cost there is their state, not a process."""

WIRING: Final[Wiring] = {
    "root": build_root,
    "hosts": build_hosts,
    "gateways": build_gateways,
    "sessions": _entities(Kind.SESSION),
    "characters": _entities(Kind.CHARACTER),
    "providers": _entities(Kind.PROVIDER),
    "host": build_host,
    "gateway": build_gateway,
}


def _settings(settings: JsonObject, inside: Inside) -> ServeSettings:
    serve = ServeSettings.from_plain(settings)
    logs.configure(serve.log_level)
    structlog.contextvars.bind_contextvars(process=inside.name)
    return serve


def _heartbeat(serve: ServeSettings) -> Heartbeat:
    return Heartbeat(every_s=serve.hang_s / 5, silent_s=serve.hang_s)


async def _store(serve: ServeSettings) -> Store:
    assert serve.redis_url is not None
    try:
        return await RedisStore.open(serve.redis_url, durability=serve.durability)
    except StoreUnavailable as problem:
        raise error(Code.DATABASE_UNAVAILABLE, str(problem)) from problem


class HostRefs:
    """`gateway.ports.HostLocator` over the supervisors' locator."""

    def __init__(self, locator: Locator) -> None:
        self._locator = locator

    async def locate(self, stream: str, *, create: bool, avoid: str) -> HostPort:
        """Return the host of an entity. Raises UndyingError."""
        return HostRef(await self._locator.locate(stream, create, avoid))


class HostRef:
    """`gateway.ports.HostPort` over a process."""

    def __init__(self, ref: Ref) -> None:
        self._ref = ref

    @property
    def name(self) -> str:
        """Return the name of the host's process."""
        return self._ref.name

    async def submit(self, gateway: str, call: int, payload: bytes) -> tuple[int, bytes]:
        """Hand over a batch."""
        return await self._call("submit", gateway, call, payload)

    async def poll(self, gateway: str) -> tuple[int, bytes]:
        """Wait for messages."""
        return await self._call("poll", gateway)

    async def _call(self, method: str, *args: object) -> tuple[int, bytes]:
        try:
            return cast("tuple[int, bytes]", await self._ref.call(method, *args))
        except RuntimeFault as fault:
            raise HostGone(str(fault)) from fault


class StoredDirectory:
    """`gateway.ports.Directory` over the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def add(self, session: str, name: str) -> None:
        """List a table. Raises UndyingError DATABASE_UNAVAILABLE."""
        try:
            await self._store.add_to_directory(Kind.SESSION, session, cast(bytes, msgpack.packb({"name": name})))
        except StoreUnavailable as problem:
            raise error(Code.DATABASE_UNAVAILABLE, "the store does not answer") from problem

    async def sessions(self) -> dict[str, str]:
        """Return the names of all tables by id. Raises UndyingError DATABASE_UNAVAILABLE."""
        try:
            listed = await self._store.directory(Kind.SESSION)
        except StoreUnavailable as problem:
            raise error(Code.DATABASE_UNAVAILABLE, "the store does not answer") from problem
        return {session: str(msgpack.unpackb(facts)["name"]) for session, facts in listed.items()}


class RootOverview:
    """`gateway.tables.Overview`: asks the root."""

    def __init__(self, inside: Inside, rng: random.Random) -> None:
        self._root = Reach(inside.runtime, ROOT, rng)

    async def status(self) -> list[JsonObject]:
        """Return the rows of `undying status`. Raises UndyingError UNAVAILABLE."""
        return cast("list[JsonObject]", await self._root.call("status"))
