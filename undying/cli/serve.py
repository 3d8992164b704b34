"""`undying serve`: options into settings, signals into one event, failures into an exit code.

Exit codes: 0 after an orderly end, 1 when the start fails, 2 for options that can't be, 130 when a second signal cut the end
short.
stdout gets the one line `ready <url>`; everything else goes to stderr.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Final

import structlog
import typer
from pydantic import ValidationError

from persistence.durability import Durability
from undying.cli import children, logs
from undying.cli.datadir import DataDir
from undying.cli.server import Parts, run
from undying.cli.settings import LogLevel, ServeSettings, explain

CUT_SHORT: Final = 130

TWIN_S: Final = 1.0
"""Seconds within which a second signal is the same one, come another way."""
SHORT_TOKEN: Final = 16
"""Below so many characters a token that somebody chose is worth a warning."""

_log = structlog.get_logger(__name__)


def serve(
    host: Annotated[str | None, typer.Option(envvar="UNDYING_HOST", help="Address to listen on. [127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(envvar="UNDYING_PORT", help="Port; 0 takes a free one. [8420]")] = None,
    data_dir: Annotated[
        Path | None, typer.Option(envvar="UNDYING_DATA_DIR", help="Where everything is kept. [.undying]", file_okay=False)
    ] = None,
    redis_url: Annotated[
        str | None, typer.Option(envvar="UNDYING_REDIS_URL", help="Redis >= 6.2 or Valkey, in place of the embedded store.")
    ] = None,
    ray_address: Annotated[
        str | None, typer.Option(envvar="UNDYING_RAY_ADDRESS", help="Ray cluster to join, in place of one of its own.")
    ] = None,
    actors_per_node: Annotated[
        int | None,
        typer.Option(envvar="UNDYING_ACTORS_PER_NODE", help="Entities that get a process of their own; more share. [64]"),
    ] = None,
    spares: Annotated[
        int | None, typer.Option(envvar="UNDYING_SPARES", help="Processes that wait, started, for a restart. [2]")
    ] = None,
    gateways: Annotated[int | None, typer.Option(envvar="UNDYING_GATEWAYS", help="Gateway processes. [1]")] = None,
    durability: Annotated[
        Durability | None, typer.Option(envvar="UNDYING_DURABILITY", help="What an acknowledgement promises. [always]")
    ] = None,
    rate_limit: Annotated[
        int | None,
        typer.Option(envvar="UNDYING_RATE_LIMIT", help="Ops per second and user; 0 turns rate and join limits off. [30]"),
    ] = None,
    checkpoint_events: Annotated[
        int | None, typer.Option(envvar="UNDYING_CHECKPOINT_EVENTS", help="Events after which a state is saved. [150]")
    ] = None,
    checkpoint_s: Annotated[
        float | None, typer.Option(envvar="UNDYING_CHECKPOINT_S", help="Seconds after which a state is saved. [30]")
    ] = None,
    rest_s: Annotated[
        float | None, typer.Option(envvar="UNDYING_REST_S", help="Seconds after which an empty table rests; 0 is never. [900]")
    ] = None,
    hang_s: Annotated[
        float | None, typer.Option(envvar="UNDYING_HANG_S", help="Seconds of silence after which a process is replaced. [5]")
    ] = None,
    memory_mb: Annotated[
        int | None, typer.Option(envvar="UNDYING_MEMORY_MB", help="MiB that a process may hold; 0 is no bound. [2048]")
    ] = None,
    public_url: Annotated[
        str | None, typer.Option(envvar="UNDYING_PUBLIC_URL", help="How clients reach the server, behind a proxy.")
    ] = None,
    log_level: Annotated[LogLevel | None, typer.Option(envvar="UNDYING_LOG_LEVEL", help="[info]")] = None,
) -> None:
    """Serve tables until SIGTERM or Ctrl-C; prints `ready URL` when clients may come."""
    given = {name: value for name, value in locals().items() if value is not None}
    try:
        settings = ServeSettings(**given)
    except ValidationError as problem:
        raise typer.BadParameter(explain(problem)) from None
    from undying.cli.parts import real_parts  # takes a second (Ray), which the other commands need not wait for

    raise typer.Exit(serve_with(settings, real_parts()))


def serve_with(settings: ServeSettings, parts: Parts) -> int:
    """Serve until a signal; returns the exit code. Leaves no process behind.

    Raises UndyingError, RuntimeFault or OSError when the start fails; everything is ended by then.
    """
    logs.configure(settings.log_level)
    if settings.admin_token is not None and len(settings.admin_token) < SHORT_TOKEN:
        _log.warning("the admin token in UNDYING_ADMIN_TOKEN is short", characters=len(settings.admin_token))
    directory = DataDir.open(settings.data_dir)
    try:
        server_id = directory.server_id()
        left = children.end([*directory.left_behind(), *children.marked(server_id)], children.LEFT_GRACE_S)
        if left:
            _log.warning("ended what an earlier server left behind", pids=left)
        try:
            with children.marking(server_id):
                asyncio.run(_serve(settings, directory, parts))
        finally:
            late = children.end([*children.running(), *directory.left_behind(), *children.marked(server_id)])
            if late:
                _log.warning("ended processes that outlived their part", pids=late)
            directory.withdraw()
    finally:
        directory.close()
    return 0


async def _serve(settings: ServeSettings, directory: DataDir, parts: Parts) -> None:
    stop = asyncio.Event()
    with _signals(stop):
        await run(settings, directory, parts, stop, lambda url: print(f"ready {url}", flush=True))


@contextmanager
def _signals(stop: asyncio.Event) -> Iterator[None]:
    """Turn the first SIGTERM or SIGINT into `stop`, a later one into an end at once.

    Not its twin: a signal to the whole process group comes a second time when a parent (make) passes its own on.

    Plain handlers, not the loop's: they act as well while something blocks the loop.
    """
    loop = asyncio.get_running_loop()

    first_s = 0.0

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        nonlocal first_s
        if stop.is_set() and time.monotonic() - first_s < TWIN_S:
            return
        if stop.is_set():
            children.kill_all()
            os._exit(CUT_SHORT)
        first_s = time.monotonic()
        stop.set()
        loop.call_soon_threadsafe(lambda: None)  # wakes the loop, which may be asleep

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
