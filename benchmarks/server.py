"""A real server for a measurement: `undying serve` as a process of its own, on a data directory that goes away with it."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from undying.cli import children
from undying.cli.datadir import DataDir, Started
from undying.cli.management import Management
from undying.protocol.ids import Role

READY_S: Final = 90.0
STOP_S: Final = 60.0
LOG_LINES: Final = 20


class NotReady(Exception):
    """The server did not come up; the text holds the end of its log."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server. `authority` is host:port."""

    pid: int
    management: Management
    data_dir: Path

    @property
    def authority(self) -> str:
        """Return the server's host:port."""
        return self.management.url.partition("//")[2]

    def seats(self, name: str, players: int) -> tuple[str, list[str]]:
        """Open a table; returns its stream and the join tokens of its game master and players. Blocks."""
        made = self.management.create_session(name)
        session, gm_token = cast(str, made["session"]), cast(str, made["gm_token"])
        table = Management(self.management.url, gm_token)
        invited = [cast(str, table.invite(session, Role.PLAYER, f"Player {at}", None)["token"]) for at in range(players)]
        return f"session:{session}", [gm_token, *invited]

    def actors(self) -> list[dict[str, Any]]:
        """Return the rows of the server's status. Blocks."""
        return cast(list[dict[str, Any]], self.management.status()["actors"])


@asynccontextmanager
async def running(options: Sequence[str]) -> AsyncIterator[Server]:
    """Start a server with further options of `undying serve`; at the end it drains. Raises NotReady."""
    with tempfile.TemporaryDirectory(prefix="measured-") as name:
        directory = Path(name)
        log = directory / "server.log"
        data_dir = directory / "data"
        command = ["-m", "undying.cli.main", "serve", "--port", "0", "--data-dir", str(data_dir), *options]
        with log.open("wb") as stderr:
            process = await asyncio.create_subprocess_exec(
                sys.executable, *command, stdout=asyncio.subprocess.PIPE, stderr=stderr
            )
        try:
            url = await _ready(process, log)
            yield Server(process.pid, Management.find(url, data_dir, None), data_dir)
        finally:
            await _stop(process, data_dir)


async def _ready(process: asyncio.subprocess.Process, log: Path) -> str:
    assert process.stdout is not None
    line = b""
    try:
        async with asyncio.timeout(READY_S):
            line = await process.stdout.readline()
    except TimeoutError:
        pass
    word, _, url = line.decode().strip().partition(" ")
    if word != "ready":
        raise NotReady(f"the server did not come up:\n{await asyncio.to_thread(_tail, log)}")
    return url


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:])


async def _stop(process: asyncio.subprocess.Process, data_dir: Path) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(STOP_S):
            await process.wait()
    except TimeoutError:
        # What it started is in its record; without it, nobody would end Ray and the store.
        process.kill()
        await process.wait()
        children.end(_recorded(data_dir))


def _recorded(data_dir: Path) -> list[Started]:
    directory = DataDir.open(data_dir)
    try:
        return directory.left_behind()
    finally:
        directory.close()
