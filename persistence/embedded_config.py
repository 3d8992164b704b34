"""The embedded store's address and configuration.

A Unix socket beside the data, for nobody else can reach it there; where that path is too long for one, a private directory
under the system's temporary directory; where that is not to be had, a loopback port with a random password.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import socket
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from persistence.durability import Durability
from persistence.resp import pack

SOCKET_PATH_BYTES_MAX: Final = 100
"""A Unix socket's path holds 107 bytes on Linux and 103 on macOS."""

ANSWER_TIMEOUT_S: Final = 1.0

_FSYNC: Final = {Durability.EVERYSEC: "everysec", Durability.ALWAYS: "always"}


@dataclass(frozen=True, slots=True)
class Address:
    """Where the server listens: a Unix socket, or a loopback port behind a password."""

    socket_path: Path | None = None
    port: int = 0
    password: str = ""

    @property
    def url(self) -> str:
        """Return the url for `RedisStore.open`. With a port it holds the password, so it belongs in no log."""
        if self.socket_path is not None:
            return f"unix://{quote(str(self.socket_path))}"
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    async def answers(self) -> bool:
        """Tell whether a server is there and done with loading."""
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                return await self._ping()
        except (OSError, TimeoutError):
            return False

    async def _ping(self) -> bool:
        if self.socket_path is not None:
            reader, writer = await asyncio.open_unix_connection(str(self.socket_path))
        else:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            if self.password:
                writer.write(pack(b"AUTH", self.password.encode()))
                await reader.readline()
            writer.write(pack(b"PING"))
            return (await reader.readline()).startswith(b"+PONG")
        finally:
            writer.close()


def choose_address(directory: Path, temporary: Path | None = None) -> Address:
    """Choose an address for a server on `directory`. `temporary` is the system's temporary directory."""
    beside = directory / "valkey.sock"
    if _fits(beside):
        return Address(socket_path=beside)
    name = hashlib.blake2b(os.fsencode(directory), digest_size=6).hexdigest()
    private = (temporary or Path(tempfile.gettempdir())) / f"undying-{os.getuid()}-{name}"
    if _fits(private / "s") and _make_private(private):
        return Address(socket_path=private / "s")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return Address(port=free.getsockname()[1], password=secrets.token_hex(24))


def _fits(path: Path) -> bool:
    return len(os.fsencode(path)) <= SOCKET_PATH_BYTES_MAX


def _make_private(directory: Path) -> bool:
    """Make a directory that only this user can enter; False when somebody else was there first."""
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        found = directory.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and stat.S_IMODE(found.st_mode) == 0o700


def render_config(directory: Path, address: Address, durability: Durability) -> str:
    """Write the server's configuration. `durability` is any but REPLICATED."""
    fsync = _FSYNC.get(durability)
    lines = [
        "daemonize no",
        "set-proc-title no",  # so that the config's path stays on the command line, where a leftover is known by it
        f"dir {_quoted(directory)}",
        f"pidfile {_quoted(directory / 'valkey.pid')}",
        f"logfile {_quoted(directory / 'valkey.log')}",
        "loglevel warning",
        "databases 1",
        'save ""',
        f"port {address.port}",
        "bind 127.0.0.1",
        f"appendonly {'no' if fsync is None else 'yes'}",
        # A crash may leave half an entry at the end, one that was never acknowledged.
        "aof-load-truncated yes",
        # Events are never to make room for others.
        "maxmemory-policy noeviction",
        "protected-mode yes",
    ]
    if fsync is not None:
        lines.append(f"appendfsync {fsync}")
    if address.socket_path is not None:
        lines += [f"unixsocket {_quoted(address.socket_path)}", "unixsocketperm 700"]
    if address.password:
        lines.append(f"requirepass {address.password}")
    return "\n".join(lines) + "\n"


def _quoted(path: Path) -> str:
    text = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
