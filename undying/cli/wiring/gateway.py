"""The program `gateway`, and its ports filled: where hosts are, the list of tables, the view of the tree."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, cast

import msgpack

from actors.direct import DirectCaller, connect
from actors.runtime import CallLost, Inside, ProcessDied, Ref, Runtime, RuntimeFault
from gateway.app import Api, AppSettings
from gateway.auth import AdminAuth, Tokens
from gateway.hub import Hub, HubSettings
from gateway.metrics import Metrics
from gateway.ports import HostGone, HostPort
from gateway.program import Gateway, GatewaySettings
from gateway.sockets import SocketSettings, frames_per_s
from gateway.tables import HubTables
from persistence.store import Store, StoreUnavailable
from persistence.survey import survey
from supervision.locator import SUPERVISORS, Locator
from supervision.reach import Reach
from supervision.reporting import TRACKER
from supervision.root import NAME as ROOT
from undying.cli.datadir import socket_of
from undying.cli.wiring.environment import now_ms, open_store, read_settings, ways
from undying.protocol.data import Json, JsonObject
from undying.protocol.errors import Code, error
from undying.protocol.ids import Kind, split_stream

SECRET: Final = "tokens"
RATE_BURST_FACTOR: Final = 2
TRACKER_S: Final = 3.0
"""Seconds that the tracker has to answer; nothing but the list of endings needs it."""


async def build_gateway(settings: JsonObject, inside: Inside) -> Gateway:
    """Build the program `gateway`. Raises UndyingError DATABASE_UNAVAILABLE."""
    gateway_id = str(settings["id"])
    serve = read_settings({key: value for key, value in settings.items() if key != "id"}, inside)
    rng = random.Random()
    store = await open_store(serve)
    tokens = Tokens(await store.secret(SECRET, random.SystemRandom().randbytes(32)), time.time)
    metrics = Metrics()
    hub_settings = HubSettings(node=inside.node, rate_per_s=serve.rate_limit, rate_burst=serve.rate_limit * RATE_BURST_FACTOR)
    locator = HostRefs(
        Locator(inside.runtime, rng, near=inside.name, ways=ways(serve, inside)),
        inside.runtime,
        partial(socket_of, serve.data_dir, inside.node),
    )
    hub = Hub(f"{gateway_id}/{rng.randbytes(6).hex()}", locator, tokens, hub_settings, metrics, rng, now_ms)
    directory, overview = StoredDirectory(store), Supervisors(inside, rng)
    tables = HubTables(hub, directory, overview)
    assert serve.admin_token is not None
    api = Api(
        tables=tables,
        overview=overview,
        directory=directory,
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

    sockets = SocketSettings(frame_max=hub_settings.frame_bytes_max, frames_per_s=frames_per_s(serve.rate_limit))
    where = GatewaySettings(host=serve.host, port=serve.port, sockets=sockets)
    return Gateway(where, hub.accept, api.app(), metrics, rng, opening, closing)


class HostRefs:
    """`gateway.ports.HostLocator` over the supervisors' locator. `socket` tells where a process listens on this machine."""

    def __init__(self, locator: Locator, runtime: Runtime, socket: Callable[[str], Path | None]) -> None:
        self._locator = locator
        self._runtime = runtime
        self._socket = socket

    async def locate(self, stream: str, *, create: bool, avoid: str) -> HostPort:
        """Return the host of an entity. Raises UndyingError."""
        name = await self._locator.host_of(stream, create, avoid)
        return HostRef(name, self._runtime, self._socket(name))


class HostRef:
    """`gateway.ports.HostPort` over a process: by a direct stream when it listens on this machine, else by the runtime."""

    def __init__(self, name: str, runtime: Runtime, socket: Path | None) -> None:
        self._name = name
        self._runtime = runtime
        self._socket = socket
        self._way: DirectCaller | Ref | None = None

    @property
    def name(self) -> str:
        """Return the name of the host's process."""
        return self._name

    async def submit(self, gateway: str, call: int, payload: bytes) -> tuple[int, bytes]:
        """Hand over a batch."""
        return await self._call("submit", gateway, call, payload)

    async def poll(self, gateway: str) -> tuple[int, bytes]:
        """Wait for messages."""
        return await self._call("poll", gateway)

    def close(self) -> None:
        """Let go of the stream."""
        if isinstance(self._way, DirectCaller):
            self._way.close()

    async def _call(self, method: str, *args: object) -> tuple[int, bytes]:
        try:
            way = self._way = self._way or await self._find_way()
            number, payload = await way.call(method, *args)
        except RuntimeFault as fault:
            raise HostGone(str(fault)) from fault
        return cast(int, number), cast(bytes, payload)

    async def _find_way(self) -> DirectCaller | Ref:
        """Open a stream, or find the process. Raises RuntimeFault when it is gone."""
        if self._socket is not None:
            try:
                return await connect(self._socket)
            except CallLost:
                pass  # on another machine, or dead: the runtime knows
        ref = await self._runtime.find(self._name)
        if ref is None:
            raise ProcessDied(self._name)
        return ref


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

    async def checkpoints(self, stream: str) -> JsonObject:
        """Return what an entity can be rolled back to. Raises UndyingError NOT_FOUND, DATABASE_UNAVAILABLE."""
        try:
            seen = await survey(self._store, stream)
        except StoreUnavailable as problem:
            raise error(Code.DATABASE_UNAVAILABLE, "the store does not answer") from problem
        if seen is None:
            raise error(Code.NOT_FOUND, f"there is no {stream}", stream=stream)
        rows: Json = [
            {"pos": [*each.position], "at": each.at_ms, "on_line": each.on_line, "dropped": each.dropped}
            for each in seen.choices
        ]
        return {"id": stream, "pos": [*seen.end], "checkpoints": rows}


class Supervisors:
    """`gateway.ports.Overview`: asks the root about all, and the supervisor of its kind about an entity."""

    def __init__(self, inside: Inside, rng: random.Random) -> None:
        self._root = Reach(inside.runtime, ROOT, rng)
        self._tracker = Reach(inside.runtime, TRACKER, rng, deadline_s=TRACKER_S)
        self._owners = {kind: Reach(inside.runtime, name, rng) for kind, name in SUPERVISORS.items()}

    async def status(self) -> list[JsonObject]:
        """Return the rows of `undying status`. Raises UndyingError UNAVAILABLE."""
        return cast("list[JsonObject]", await self._root.call("status"))

    async def history(self, stream: str) -> list[JsonObject]:
        """Return how an entity ended so far, latest first. Raises UndyingError NOT_FOUND, UNAVAILABLE."""
        return cast("list[JsonObject]", await self._owner(stream).call("history", stream))

    async def endings(self, limit: int) -> JsonObject:
        """Return what ended in the whole tree, the latest first. Raises UndyingError UNAVAILABLE."""
        return cast(JsonObject, await self._tracker.call("endings", limit))

    async def readmit(self, stream: str) -> None:
        """Try a quarantined or failed entity again. Raises UndyingError NOT_FOUND, WRONG_STATE, UNAVAILABLE."""
        await self._owner(stream).call("readmit", stream)

    async def roll_back(self, stream: str, to: list[int]) -> JsonObject:
        """Bring a quarantined or failed entity back as it was at a position. Raises UndyingError, see `Tables.roll_back`."""
        return cast(JsonObject, await self._owner(stream).call("roll_back", stream, to))

    async def drain(self, node: str) -> JsonObject:
        """Begin to empty a node. Raises UndyingError NOT_FOUND, WRONG_STATE, UNAVAILABLE."""
        return cast(JsonObject, await self._root.call("drain", node))

    async def undrain(self, node: str) -> None:
        """Use a node again. Raises UndyingError NOT_FOUND, UNAVAILABLE."""
        await self._root.call("undrain", node)

    async def restart(self) -> None:
        """Begin to replace every process. Raises UndyingError UNAVAILABLE."""
        await self._root.call("restart")

    def _owner(self, stream: str) -> Reach:
        return self._owners[split_stream(stream)[0]]
