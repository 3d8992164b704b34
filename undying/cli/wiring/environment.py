"""What every program of a server begins with: its settings read, its logs set up, a connection to the store."""

from __future__ import annotations

import time
from functools import partial

import structlog

from actors.runtime import Inside
from persistence.redis_store import RedisStore
from persistence.store import Store, StoreUnavailable
from supervision.reach import Ways
from undying.cli import logs
from undying.cli.datadir import socket_of
from undying.cli.settings import ServeSettings
from undying.protocol.data import JsonObject
from undying.protocol.errors import Code, error


def now_ms() -> int:
    """Return the time in ms since 1970."""
    return time.time_ns() // 1_000_000


def read_settings(settings: JsonObject, inside: Inside) -> ServeSettings:
    """Read a program's settings, and set its process's logs up by them."""
    serve = ServeSettings.from_plain(settings)
    logs.configure(serve.log_level)
    structlog.contextvars.bind_contextvars(process=inside.name)
    return serve


def ways(serve: ServeSettings, inside: Inside) -> Ways:
    """Return where processes of this server listen on this node."""
    return Ways(partial(socket_of, serve.data_dir, inside.node))


async def open_store(serve: ServeSettings) -> Store:
    """Connect to the store. Raises UndyingError DATABASE_UNAVAILABLE."""
    assert serve.redis_url is not None
    try:
        return await RedisStore.open(serve.redis_url, durability=serve.durability)
    except StoreUnavailable as problem:
        raise error(Code.DATABASE_UNAVAILABLE, str(problem)) from problem
