"""A whole server, from nothing to ready and back to nothing.

    port held → store → cluster → root → /readyz says 200 → (stop is asked for) → root drains → cluster ends → store ends
                                                       └ the cluster breaks ─▶ the command starts over, on the same port

Each part is ended by the one that made it, in reverse order, also when a later part's start fails. Every wait has a bound; past
it the next part's end begins, and `children.end` has the last word about processes. A stop that is asked for during the start
counts between two steps, none of which takes long.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final, NoReturn

import structlog

from actors.runtime import NameTaken, Program, Ref, Runtime, RuntimeFault
from supervision.control_plane import kill_surely
from supervision.heartbeat import Heartbeat, until_gone
from supervision.root import NAME as ROOT
from undying.cli import children, port
from undying.cli.datadir import DataDir
from undying.cli.settings import ServeSettings
from undying.protocol.errors import Code, UndyingError, error

SPAWN_S: Final = 180.0
"""Seconds within which the root has started."""

READY_S: Final = 180.0
"""Seconds between the root's start and `/readyz` saying 200."""

READY_POLL_S: Final = 0.05

ROOT_SILENT_S: Final = 30.0
"""Patient: Ray takes some seconds to restart a root, and tables play on without one."""

LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")

ROOT_AGAIN_S: Final = 5.0
"""Seconds between attempts to start another root."""

DRAIN_S: Final = 30.0
"""Seconds that the tree has to finish, save and end."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Cluster:
    """A runtime, and a wait until what carries it is beyond help, which returns the reason."""

    runtime: Runtime
    until_broken: Callable[[], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Parts:
    """How a server's parts are made; each context ends what it started."""

    store: Callable[[DataDir, ServeSettings], AbstractAsyncContextManager[str]]
    """Start the embedded store, give its url."""

    cluster: Callable[[DataDir, ServeSettings], AbstractAsyncContextManager[Cluster]]
    """Start or join a cluster."""

    ready: Callable[[str], Awaitable[bool]]
    """Tell whether the server at a base url is ready."""

    start_over: Callable[[], NoReturn]
    """Put another run of the same command in this one's place, without ending anything in order."""


async def run(
    settings: ServeSettings, directory: DataDir, parts: Parts, stop: asyncio.Event, announce: Callable[[str], None]
) -> None:
    """Bring a server up, call `announce` with its url once it is ready, take it down when `stop` is set.

    Raises what a part's start raises: UndyingError, RuntimeFault, OSError; everything is ended by then.
    """
    async with AsyncExitStack() as parts_up:
        await parts_up.enter_async_context(children.recorded(directory))
        up = await _bring_up(settings, directory, parts, stop, parts_up)
        if up is None:
            return
        url, cluster = up
        directory.announce(url)
        announce(url)
        broken = await _until_stop_or_broken(stop, cluster)
        if broken is not None:
            _log.critical("the cluster is broken; starting over", ended=broken)
            parts.start_over()
        _log.info("draining")


async def _until_stop_or_broken(stop: asyncio.Event, cluster: Cluster) -> str | None:
    """Return None when a stop is asked for, or what broke the cluster."""
    waits = [asyncio.ensure_future(stop.wait()), asyncio.ensure_future(cluster.until_broken())]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        return None if stop.is_set() else str(waits[1].result())
    finally:
        for wait in waits:
            wait.cancel()


async def _bring_up(
    settings: ServeSettings, directory: DataDir, parts: Parts, stop: asyncio.Event, up: AsyncExitStack
) -> tuple[str, Cluster] | None:
    """Start everything; returns the url and the cluster, or None when a stop was asked for meanwhile."""
    holder = up.enter_context(_hold_port(settings, directory))
    number = port.number_of(holder)
    settings = settings.replace(port=number, admin_token=settings.admin_token or directory.admin_token())
    embedded = settings.redis_url is None
    if embedded:
        settings = settings.replace(redis_url=await up.enter_async_context(parts.store(directory, settings)))
        _log.info("store started")
    if stop.is_set():
        return None
    cluster = await up.enter_async_context(parts.cluster(directory, settings))
    _log.info("cluster started")
    if stop.is_set():
        return None
    await _warn_of_borders(cluster.runtime, settings, embedded=embedded)
    await up.enter_async_context(_tree(cluster.runtime, settings))
    _log.info("tree started")
    url = port.base_url(settings.host, number)
    return (url, cluster) if await _wait_until_ready(url, parts, stop) else None


async def _warn_of_borders(runtime: Runtime, settings: ServeSettings, *, embedded: bool) -> None:
    """Say what of this server ends at this machine's border, when its cluster does not."""
    try:
        nodes = await runtime.nodes()
    except RuntimeFault:  # only a warning is lost
        return
    if len(nodes) < 2:
        return
    if embedded:
        _log.warning("the embedded store is reached from this machine only; give --redis-url", nodes=len(nodes))
    if settings.host in LOOPBACK:
        _log.warning("gateways listen to their own machines only; give --host", host=settings.host, nodes=len(nodes))


def _hold_port(settings: ServeSettings, directory: DataDir) -> socket.socket:
    """Hold the port. Where any free one will do, the one that a server had here that did not end in order: clients know it."""
    last = directory.port_left_behind() if settings.port == 0 else None
    if last is not None:
        try:
            return port.hold(settings.host, last)
        except UndyingError as taken:
            _log.warning("the last port can't be had again", port=last, reason=taken.failure.message)
    return port.hold(settings.host, settings.port)


@asynccontextmanager
async def _tree(runtime: Runtime, settings: ServeSettings) -> AsyncIterator[None]:
    """Start the root, which starts everything else; at the end let it drain, and end what is left.

    On a joined cluster an earlier server of this data directory, killed, may have left its processes: they are ended first.
    """
    await _end_processes(runtime)
    program = Program(ROOT, settings.to_plain())
    heartbeat = Heartbeat(every_s=1.0, silent_s=ROOT_SILENT_S, memory_bytes_max=settings.memory_mb << 20)
    try:
        root = await _start_root(runtime, program)
        keeper = asyncio.create_task(_keep_root(runtime, program, root, heartbeat))
        try:
            yield
        finally:
            keeper.cancel()
        await _drain(runtime)
    finally:
        await _end_processes(runtime)


async def _start_root(runtime: Runtime, program: Program) -> Ref:
    async with asyncio.timeout(SPAWN_S):
        try:
            return await runtime.spawn(ROOT, program, restarts=True)
        except NameTaken:  # one that ended a moment ago, and has not let go of its name yet
            await kill_surely(ROOT, runtime)
            return await runtime.spawn(ROOT, program, restarts=True)


async def _keep_root(runtime: Runtime, program: Program, root: Ref, heartbeat: Heartbeat) -> None:
    """Start another root when there is none any more: Ray restarts one that was killed, but not one that gave up or hangs."""
    while True:
        exit_ = await until_gone(root, runtime, heartbeat)
        while True:
            _log.error("the root is gone; starting another", reason=exit_.reason, detail=exit_.detail)
            try:
                root = await _start_root(runtime, program)
            except (RuntimeFault, UndyingError, TimeoutError) as problem:
                _log.critical("the root does not start", reason=repr(problem))
                await asyncio.sleep(ROOT_AGAIN_S)
            else:
                break


async def _drain(runtime: Runtime) -> None:
    try:
        async with asyncio.timeout(DRAIN_S):
            root = await runtime.find(ROOT)
            if root is not None:
                await root.call("stop")
    except (RuntimeFault, UndyingError, TimeoutError) as problem:
        # What was acknowledged is in the journal; an unsaved checkpoint costs the next start some milliseconds.
        _log.warning("the tree did not drain in order", reason=repr(problem))


async def _end_processes(runtime: Runtime) -> None:
    """End the processes that the root did not. The root first: it would bring the others back."""
    try:
        async with asyncio.timeout(DRAIN_S):
            await runtime.kill(ROOT)
            for name in sorted(await runtime.names()):
                await runtime.kill(name)
    except (RuntimeFault, TimeoutError) as problem:
        _log.warning("processes left to the runtime's end", reason=repr(problem))


async def _wait_until_ready(url: str, parts: Parts, stop: asyncio.Event) -> bool:
    """Wait for readiness; False when a stop was asked for first. Raises UndyingError UNAVAILABLE past READY_S."""
    try:
        async with asyncio.timeout(READY_S):
            while not stop.is_set():
                if await parts.ready(url):
                    return True
                await asyncio.sleep(READY_POLL_S)
            return False
    except TimeoutError:
        raise error(Code.UNAVAILABLE, f"the server at {url} was not ready within {READY_S:.0f} s; its log says why") from None
