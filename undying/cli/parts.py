"""The real parts of a server: the embedded Valkey, the Ray cluster, and the look at `/readyz`.

Ray's files (sockets, logs) and the hosts' sockets live in the run directory (`datadir.run_directory`), which is emptied before
a start and removed after the end.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Final, NoReturn

import structlog

from actors.ray_cluster import ClusterSettings, RayCluster
from persistence.embedded import EmbeddedStore, EmbeddedStoreError
from persistence.embedded_keeper import keep_up
from undying.cli.datadir import DataDir, run_directory
from undying.cli.management import is_ready
from undying.cli.server import Cluster, Parts
from undying.cli.settings import ServeSettings
from undying.protocol.errors import Code, error

WIRING: Final = "undying.cli.wiring:WIRING"
"""The composition root: all programs of a server by name."""

SPARES_PRELOAD: Final = ("undying.cli.wiring.host", "undying.cli.wiring.gateway")
"""What a process that waits for a program imports meanwhile, so that it is a host or a gateway at once."""

RAY_FILES: Final = "r"
"""Ray opens its directory to everybody; so it gets one inside of ours, which is closed."""

READY_TIMEOUT_S: Final = 5.0

_log = structlog.get_logger(__name__)


@asynccontextmanager
async def _store(_directory: DataDir, settings: ServeSettings) -> AsyncIterator[str]:
    store = EmbeddedStore(settings.data_dir, settings.durability)
    try:
        url = await store.start()
    except EmbeddedStoreError as problem:
        raise error(Code.DATABASE_UNAVAILABLE, str(problem)) from problem
    keeper = asyncio.create_task(keep_up(store, settings.hang_s))
    try:
        yield url
    finally:
        try:
            keeper.cancel()
            with suppress(asyncio.CancelledError):
                await keeper
        finally:
            await store.stop()


@asynccontextmanager
async def _cluster(wiring: str, directory: DataDir, settings: ServeSettings) -> AsyncIterator[Cluster]:
    files = run_directory(settings.data_dir)
    shutil.rmtree(files, ignore_errors=True)  # of a server that was killed
    try:
        files.mkdir(mode=0o700)  # fails when somebody else's is in the way
        cluster = RayCluster.start(
            ClusterSettings(
                wiring=wiring,
                preload=SPARES_PRELOAD,
                address=settings.ray_address,
                directory=files / RAY_FILES,
                namespace=f"undying-{directory.server_id()}",
            )
        )
    except (OSError, RuntimeError, ValueError) as problem:  # Ray has no base class for what it raises here
        raise error(Code.UNAVAILABLE, f"Ray did not start: {problem}") from problem
    try:
        yield Cluster(cluster.runtime, cluster.until_broken)
    finally:
        cluster.stop()
        shutil.rmtree(files, ignore_errors=True)


async def _ready(url: str) -> bool:
    return await asyncio.to_thread(is_ready, url, READY_TIMEOUT_S)


def real_parts(wiring: str = WIRING) -> Parts:
    """Return the parts of a real server whose programs are in the table that `wiring` names, `package.module:ATTRIBUTE`."""
    return Parts(store=_store, cluster=partial(_cluster, wiring), ready=_ready, start_over=_start_over)


def _start_over() -> NoReturn:
    """Become this very command anew. It ends what the old one started, as after a `kill -9`, and takes its port again."""
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - this very program
