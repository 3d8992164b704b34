"""The real parts of a server, one at a time."""

import asyncio
import signal
from pathlib import Path

import psutil
import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from undying.cli import children
from undying.cli.datadir import DataDir
from undying.cli.parts import real_parts
from undying.cli.settings import ServeSettings


async def _answers(url: str) -> bool:
    async with Redis.from_url(url) as client:
        try:
            return bool(await client.ping())
        except RedisError:
            return False


@pytest.mark.store
async def test_a_store_that_is_killed_is_up_again_at_the_same_address_with_its_data(tmp_path: Path) -> None:
    directory = DataDir.open(tmp_path)
    before = {child.pid for child in children.running()}
    async with real_parts().store(directory, ServeSettings(data_dir=tmp_path)) as url:
        async with Redis.from_url(url) as client:
            await client.set("acknowledged", "yes")
        (pid,) = {child.pid for child in children.running()} - before
        psutil.Process(pid).send_signal(signal.SIGKILL)
        async with asyncio.timeout(30):
            while psutil.pid_exists(pid) or not await _answers(url):  # noqa: ASYNC110 - another process can only be asked
                await asyncio.sleep(0.01)
        async with Redis.from_url(url) as client:
            assert await client.get("acknowledged") == b"yes"
    directory.close()
