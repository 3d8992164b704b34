"""SIGTERM of a real server while clients play: it says good-bye, saves everything, leaves nothing, and comes back with it."""

from __future__ import annotations

import asyncio
import signal
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from persistence.durability import Durability
from persistence.embedded import EmbeddedStore
from persistence.redis_store import RedisStore
from tests.integration.players import party
from tests.integration.serving import END_S, Server, serving
from undying.protocol.closes import Close
from undying.protocol.codec import decode, encode
from undying.protocol.data import JsonObject

pytestmark = [pytest.mark.ray, pytest.mark.store]


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


async def test_a_server_that_is_asked_to_end_says_so_saves_everything_and_goes_on_at_its_next_start(tmp_path: Path) -> None:
    with ExitStack() as lives:
        first = lives.enter_context(serving(tmp_path / "data", "--rate-limit", "0"))
        async with party(first, ["ada"]) as playing:
            onlooker = asyncio.create_task(last_words(first, playing.table.tokens["gm"]))
            playing.begin()
            await playing.until(more=40)
            processes = psutil.Process(first.process.pid).children(recursive=True)
            first.process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(first.process.wait, END_S) == 0
            assert [process for process in processes if process.is_running()] == []
            frames, code = await onlooker
            assert frames[-1]["t"] == "reconnect"
            assert code == Close.DRAINING
            assert await unsaved(tmp_path / "data", playing.streams) == []
            port = str(urlsplit(first.url).port)
            await asyncio.to_thread(
                lambda: lives.enter_context(serving(tmp_path / "data", "--rate-limit", "0", "--port", port))
            )
            await playing.until(more=20)
            await playing.finish()
            await playing.verdict()
