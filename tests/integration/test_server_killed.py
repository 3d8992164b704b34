"""A whole server ends while clients send, in order and by a power cut: the next one on its data directory has all that was
acknowledged, and clients resume by themselves.

That nothing is left of a server that was killed alone is tested on a smaller tree, in `cli/test_serve.py`.
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, suppress
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from persistence.durability import Durability
from persistence.embedded import EmbeddedStore
from persistence.redis_store import RedisStore
from tests.integration.players import Party, eventually, party
from tests.integration.serving import END_S, Server, serving
from undying.protocol.closes import Close
from undying.protocol.codec import decode, encode
from undying.protocol.data import JsonObject

pytestmark = [pytest.mark.ray, pytest.mark.store]

OPTIONS = ("--rate-limit", "0", "--actors-per-node", "2", "--spares", "1")
"""Few processes: what is tested does not depend on their number, and the start takes half as long."""


class Lives:
    """The lives of one server: each on the same data directory and port."""

    def __init__(self, data_dir: Path, stack: ExitStack) -> None:
        self.data_dir = data_dir
        self._stack = stack
        self.now = self._start("0")

    def _start(self, port: str) -> Server:
        return self._stack.enter_context(serving(self.data_dir, *OPTIONS, "--port", port))

    def processes(self) -> list[psutil.Process]:
        """Return the server's process and all that it started."""
        server = psutil.Process(self.now.process.pid)
        return [server, *server.children(recursive=True)]

    def cut_power(self) -> list[psutil.Process]:
        """Kill the server and all that it started; returns what was killed."""
        victims = self.processes()
        for victim in victims:
            victim.send_signal(signal.SIGKILL)
        self.now.process.wait()
        return victims

    def start_again(self) -> None:
        """Start the next one where the last one was; returns when it is ready."""
        self.now = self._start(str(urlsplit(self.now.url).port))


@pytest.fixture
def lives(tmp_path: Path) -> Iterator[Lives]:
    """Start a server that the test may end."""
    with ExitStack() as stack:
        yield Lives(tmp_path / "data", stack)


async def last_words(server: Server, token: str) -> tuple[list[JsonObject], int | None]:
    """Sit at a table until the server ends the connection; return all frames and the close code."""
    frames: list[JsonObject] = []
    async with connect(server.url.replace("http", "ws", 1) + "/v1/connect") as socket:
        await socket.send(encode({"t": "join", "token": token}, "json").decode())
        with suppress(ConnectionClosed):
            while True:
                frames.append(decode(await socket.recv(), "json"))
        return frames, socket.close_code


async def unsaved(data_dir: Path, streams: tuple[str, ...]) -> list[str]:
    """Return which of the streams, of a server that ended, have events that no checkpoint holds."""
    embedded = EmbeddedStore(data_dir)
    store = await RedisStore.open(await embedded.start(), durability=Durability.ALWAYS)
    try:
        return [stream for stream in streams if (await store.checkpoints(stream))[0].position != await store.last(stream)]
    finally:
        await store.close()
        await embedded.stop()


async def end_in_order(lives: Lives, playing: Party) -> None:
    """Ask the server to end; it says so to everybody, saves everything and leaves no process."""
    onlooker = asyncio.create_task(last_words(lives.now, playing.table.tokens["gm"]))
    processes = lives.processes()
    lives.now.process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(lives.now.process.wait, END_S) == 0
    assert living(processes) == []
    frames, code = await onlooker
    assert frames[-1]["t"] == "reconnect"
    assert code == Close.DRAINING
    assert await unsaved(lives.data_dir, playing.streams) == []


def living(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [process for process in processes if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


async def test_what_was_acknowledged_outlives_an_end_in_order_and_a_power_cut_and_clients_resume(
    lives: Lives,
) -> None:
    rng = random.Random()
    async with AsyncExitStack() as stack:
        parties = [await stack.enter_async_context(party(lives.now, names)) for names in (["ada", "bea"], ["cid"])]
        for playing in parties:
            playing.begin()
        await asyncio.gather(*(playing.until(more=rng.randint(20, 120)) for playing in parties))
        await end_in_order(lives, parties[0])
        await asyncio.to_thread(lives.start_again)
        await asyncio.gather(*(playing.until(more=rng.randint(20, 120)) for playing in parties))
        killed = lives.cut_power()
        await asyncio.to_thread(lives.start_again)
        assert living(killed) == []
        await asyncio.gather(*(playing.until(more=20) for playing in parties))
        for playing in parties:
            await playing.finish()
            await playing.verdict()


async def test_a_server_whose_ray_lost_its_control_service_starts_over_by_itself_on_its_port(tmp_path: Path) -> None:
    with serving(tmp_path / "data", *OPTIONS) as server:
        async with party(server, ["ada"]) as playing:
            playing.begin()
            await playing.until(more=20)
            ours = psutil.Process(server.process.pid).children()
            next(process for process in ours if process.name() == "gcs_server").kill()
            await eventually(lambda: playing.cut_off() == ["gm", "ada"])
            await playing.until(more=20, stream=playing.streams[0])
            await playing.until(more=20, stream=playing.streams[1])
            await playing.finish()
            await playing.verdict()
