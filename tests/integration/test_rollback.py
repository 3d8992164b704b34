"""A table of a real server that can't be brought back: a person sets it back to a checkpoint, and who was there plays on."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

import undying
from tests.integration.players import WITHIN_S, eventually
from tests.integration.serving import REPOSITORY, Server
from undying.cli.management import Management
from undying.client.events import SNAPSHOT, TableEvent
from undying.protocol.data import JsonObject

pytestmark = [pytest.mark.ray, pytest.mark.store]

SAVED_AFTER = 500
"""Events after which a table is saved."""
BREATH = 50


def undying_command(server: Server, *args: str) -> tuple[int, JsonObject, str]:
    """Type a command; return its exit code, its document and what it says on stderr."""
    command = [sys.executable, "-m", "undying.cli.main", *args, "--data-dir", str(server.data_dir), "--json"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=WITHIN_S, check=False)
    return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr


def store_of(server: Server) -> Redis:
    return Redis(unix_socket_path=str(Path(server.data_dir) / "store" / "valkey.sock"))


def damage(server: Server, stream: str) -> None:
    """Put an entry behind a table's journal that no life of it can take in."""
    key = f"undying:{{{stream}}}:log"
    with store_of(server) as store:
        rows: Any = store.xrevrange(key, count=1)
        epoch, seq = map(int, rows[0][0].split(b"-"))
        store.xadd(key, {"f": seq + 1, "p": "1", "b": b"\xc1", "a": b"", "e": b""}, id=f"{epoch}-{seq + 1}")


async def soon(ask: Callable[[], object], wanted: Callable[[Any], bool]) -> Any:
    """Ask in a thread until the answer is the one that is wanted."""
    async with asyncio.timeout(WITHIN_S):
        while not wanted(answer := await asyncio.to_thread(ask)):
            pass
    return answer


async def test_a_table_whose_journal_is_damaged_is_set_back_to_its_checkpoint_and_its_players_go_on(server: Server) -> None:
    table = await asyncio.to_thread(server.make_table)
    management = Management(server.url, server.admin_token)

    def state() -> object:
        rows: Any = management.status()["actors"]
        return [row["state"] for row in rows if row["id"] == table.stream]

    def saved() -> Any:
        return management.checkpoints(table.stream)["checkpoints"]

    heard: list[TableEvent] = []

    async def listen(seat: undying.Table) -> None:
        async for event in seat.events():
            heard.append(event)  # noqa: PERF401 - what is heard is looked at meanwhile

    async with undying.connect(server.url, table.tokens["gm"]) as gm, undying.connect(server.url, table.tokens["ada"]) as ada:
        assert (await asyncio.to_thread(undying_command, server, "quarantine", "rollback", table.stream))[0] == 1
        listening = asyncio.create_task(listen(ada))
        for breath in range(SAVED_AFTER // BREATH):
            await asyncio.gather(*(gm.say(f"kept {breath} {number}") for number in range(BREATH)))
        checkpoint = (await soon(saved, bool))[0]
        for number in range(3):
            await gm.say(f"lost {number}")
        await eventually(lambda: any(event.data.get("text") == "lost 2" for event in heard))
        last = ada.state.chat[-1]
        assert isinstance(last, dict)
        assert last["text"] == "lost 2"
        del heard[:]

        await asyncio.to_thread(damage, server, table.stream)
        waiting = asyncio.create_task(gm.say("asked while it was away"))
        assert await soon(state, lambda told: told == ["failed"])
        code, told, problem = await asyncio.to_thread(undying_command, server, "quarantine", "list")
        assert (code, problem) == (0, "")
        assert table.stream in json.dumps(told)
        code, told, problem = await asyncio.to_thread(undying_command, server, "quarantine", "rollback", table.stream)
        assert (code, problem) == (0, "")
        assert told == {"stream": table.stream, "to": checkpoint["pos"], "dropped": checkpoint["dropped"] + 3 + 1}

        await waiting
        await ada.say("we play on")
        await gm.until(lambda: gm.state.chat[-1]["text"] == "we play on")  # type: ignore[index,call-overload]
        assert SNAPSHOT in [event.kind for event in heard if event.stream == table.stream]
        for seat in (gm, ada):
            texts = [str(line["text"]) for line in seat.state.chat if isinstance(line, dict)]
            assert texts[-2:] == ["asked while it was away", "we play on"]
            assert all(text.startswith("kept") for text in texts[:-2])
        async with undying.connect(server.url, table.tokens["gm"]) as newcomer:
            assert newcomer.state.chat == ada.state.chat
        listening.cancel()
    assert await asyncio.to_thread(state) == ["live"]
