"""Starts a Ray cluster of our own on this machine, or joins a given one; and ends what it started.

Ray reads part of its settings from the environment while it is imported, so this module sets them and imports
`actors.runtime_ray` only then. A cluster of our own listens on loopback only, takes calls only with a token that lives in
the environment of its processes, sends no usage statistics and writes below one directory.

A given cluster is joined as it is; at the end only the processes of our namespace are ended there.

Ray does not outlive the death of its own processes on the only node: without its node manager no actor is known, without its
control service nothing can be found, started or ended, and a minute later all processes give up. So that is noticed
(`until_broken`), and whoever runs the cluster starts over. In a cluster of several machines Ray's own ways are for that.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

if TYPE_CHECKING:
    from actors.runtime_ray import RayRuntime

OBJECT_STORE_BYTES: Final = 80_000_000
"""Near Ray's minimum: batches travel inside calls, and nothing of ours is kept in the object store."""

VITAL: Final = ("gcs_server", "raylet")
"""The processes of Ray without which a cluster of our own is none."""

LOOK_S: Final = 0.5
"""Seconds between two looks at whether they live."""

END_S: Final = 5.0
"""Seconds that Ray's own processes have to end before they are killed."""


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """Which cluster. `address` None starts one; `directory` must be short (Unix sockets live in it, at most ~50 bytes)."""

    wiring: str
    preload: Sequence[str] = ()
    address: str | None = None
    directory: Path | None = None
    namespace: str = "undying"


class RayCluster:
    """A connection to a cluster, and, when it is our own, the processes that make it up."""

    def __init__(self, settings: ClusterSettings, runtime: RayRuntime, own: list[psutil.Process]) -> None:
        self.runtime = runtime
        self._settings = settings
        self._own = own

    @classmethod
    def start(cls, settings: ClusterSettings) -> RayCluster:
        """Start or join. Blocks for about 3 s when it starts.

        Raises what Ray raises: ConnectionError, RuntimeError, ValueError.
        """
        if settings.address is None:
            os.environ.update(_environment(secrets.token_hex(32)))
        from actors import runtime_ray

        before = set(psutil.Process().children())
        handler = signal.getsignal(signal.SIGTERM)
        try:
            runtime_ray.connect(settings.address, settings.namespace, settings.directory, OBJECT_STORE_BYTES)
        finally:
            signal.signal(signal.SIGTERM, handler)  # Ray put its own there, which would end us without a drain
        own = [] if settings.address else [child for child in psutil.Process().children() if child not in before]
        return cls(settings, runtime_ray.RayRuntime(settings.wiring, settings.preload, namespace=settings.namespace), own)

    async def until_broken(self) -> str:
        """Return when the cluster can't go on, with the name of what ended. Of a joined one that is not known: never."""
        vital = [(process, process.name()) for process in self._own if process.name() in VITAL]
        while True:
            await asyncio.sleep(LOOK_S)
            for process, name in vital:
                if _has_ended(process):
                    return str(name)

    def stop(self) -> None:
        """End our processes, disconnect, and end the cluster when it is our own. Blocks; leaves no process behind."""
        from actors import runtime_ray

        left = [*self._own]
        for process in self._own:
            try:
                left.extend(process.children(recursive=True))
            except psutil.NoSuchProcess:
                continue
        runtime_ray.disconnect(self._settings.namespace)
        _, alive = psutil.wait_procs(left, timeout=END_S)
        for process in alive:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(alive, timeout=END_S)


def _has_ended(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def _environment(token: str) -> dict[str, str]:
    return {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": token,  # given, so that Ray makes none in the home directory
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # makes the node's address 127.0.0.1, on every system
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_task_events_report_interval_ms": "0",  # else Ray keeps a history of every call: 12 KB for a table that is created
        "RAY_worker_niceness": "0",  # Ray's default, 15, starves actors as soon as anything else wants the processor
    }


@asynccontextmanager
async def ray_cluster(settings: ClusterSettings) -> AsyncIterator[RayCluster]:
    """Hold a cluster for as long as the block lasts. Must be entered in the main thread; blocks it meanwhile."""
    cluster = RayCluster.start(settings)
    try:
        yield cluster
    finally:
        cluster.stop()
