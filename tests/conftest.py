"""Fixtures that several suites share."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from actors.ray_cluster import ClusterSettings, RayCluster
from actors.runtime import Runtime
from persistence.durability import Durability
from persistence.embedded import EmbeddedStore


@pytest.fixture(scope="session")
def store_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start one embedded Valkey for the whole run and return its url. Use `store_url`, which is empty, in tests."""
    server = EmbeddedStore(tmp_path_factory.mktemp("valkey"), Durability.EVERYSEC)
    yield asyncio.run(server.start())
    asyncio.run(server.stop())


@pytest.fixture
async def store_url(store_server: str) -> str:
    """Return the url of an empty Valkey."""
    async with Redis.from_url(store_server) as client:
        await client.flushall()
    return store_server


@pytest.fixture(scope="session")
def ray_runtime() -> Iterator[Runtime]:
    """One Ray cluster for the whole run, wired with the programs of the runtime contract."""
    with tempfile.TemporaryDirectory(prefix="undying-") as directory:
        cluster = RayCluster.start(ClusterSettings("tests.contract.runtime_programs:WIRING", directory=Path(directory)))
        yield cluster.runtime
        cluster.stop()
