"""`kill -9` of a whole server while clients send: the next one on the same data directory has all that was acknowledged."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from tests.integration.players import party
from tests.integration.serving import Server, serving

pytestmark = [pytest.mark.ray, pytest.mark.store]


class Lives:
    """The lives of one server: each on the same data directory and port."""

    def __init__(self, data_dir: Path, stack: ExitStack) -> None:
        self._data_dir = data_dir
        self._stack = stack
        self.now = self._start("0")

    def _start(self, port: str) -> Server:
        return self._stack.enter_context(serving(self._data_dir, "--rate-limit", "0", "--port", port))

    def kill_everything(self) -> list[psutil.Process]:
        """Kill the server and all that it started, as a power cut would; returns what was killed."""
        server = psutil.Process(self.now.process.pid)
        victims = [server, *server.children(recursive=True)]
        for victim in victims:
            victim.send_signal(signal.SIGKILL)
        self.now.process.wait()
        return victims

    def kill_server_alone(self) -> list[psutil.Process]:
        """Kill only the process that people started; returns what it left behind."""
        children: list[psutil.Process] = psutil.Process(self.now.process.pid).children(recursive=True)
        self.now.process.kill()
        self.now.process.wait()
        return children

    def start_again(self) -> None:
        """Start the next one where the last one was; returns when it is ready."""
        self.now = self._start(str(urlsplit(self.now.url).port))


@pytest.fixture
def lives(tmp_path: Path) -> Iterator[Lives]:
    """Start a server that the test may kill."""
    with ExitStack() as stack:
        yield Lives(tmp_path / "data", stack)


async def test_what_was_acknowledged_survives_kills_of_the_whole_server_and_clients_resume_by_themselves(lives: Lives) -> None:
    rng = random.Random()
    async with AsyncExitStack() as stack:
        parties = [await stack.enter_async_context(party(lives.now, names)) for names in (["ada", "bea"], ["cid", "dot"])]
        for playing in parties:
            playing.begin()
        for kill in (lives.kill_everything, lives.kill_server_alone):
            await asyncio.gather(*(playing.until(more=rng.randint(20, 120)) for playing in parties))
            left = kill()
            await asyncio.to_thread(lives.start_again)
            assert [process for process in left if process.is_running() and process.status() != psutil.STATUS_ZOMBIE] == []
            await asyncio.gather(*(playing.until(more=20) for playing in parties))
        for playing in parties:
            await playing.finish()
            await playing.verdict()
