"""A server of a command's own: in processes of its own, on a free port and a directory that goes with it.

The server runs in a process group of its own, so that Ctrl-C reaches the command only, which then ends the server: it asks,
waits `END_S`, asks again (which a server takes as "at once"), and kills what is left. Nothing outlives the block.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, TypeAlias

import psutil

from undying.cli import children
from undying.cli.datadir import Started
from undying.cli.management import Management
from undying.cli.settings import ENV_PREFIX
from undying.protocol.errors import Code, error

READY_S: Final = 180.0
"""Seconds until the server is ready; a busy machine takes most of a minute."""

END_S: Final = 45.0
AT_ONCE_S: Final = 10.0
LOG_TAIL_CHARS: Final = 2_000
STORE: Final = "valkey-server"
"""What the embedded store's process is called."""

Command: TypeAlias = Callable[[Path], Sequence[str]]
"""What Python is told to run a server on a data directory."""


def plain(data_dir: Path) -> list[str]:
    """Run `undying serve` as it is, without limits of rate. A `Command`."""
    options = ["--host", "127.0.0.1", "--port", "0", "--data-dir", str(data_dir), "--rate-limit", "0", "--log-level", "warning"]
    return ["-m", "undying.cli.main", "serve", *options]


@dataclass(frozen=True, slots=True)
class OwnServer:
    """A running server: its management API, its first process, and where its data are."""

    management: Management
    pid: int
    data_dir: Path

    def owns(self, pid: int) -> bool:
        """Tell whether a process is one of this server's."""
        try:
            return any(parent.pid == self.pid for parent in psutil.Process(pid).parents())
        except psutil.NoSuchProcess:
            return False

    def store_pid(self) -> int | None:
        """Return the process of the embedded store, None while there is none."""
        with suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self.pid).children():
                with suppress(psutil.NoSuchProcess):
                    if child.name().startswith(STORE) and child.status() != psutil.STATUS_ZOMBIE:
                        return int(child.pid)
        return None


@contextmanager
def serving(command: Command = plain, log: Path | None = None) -> Iterator[OwnServer]:
    """Start a server; it has ended when the block has. Its log is added to `log`, if one is given.

    Raises UndyingError UNAVAILABLE when it does not get ready.
    """
    with tempfile.TemporaryDirectory(prefix="undying-own-") as directory:
        data_dir, log = Path(directory) / "data", log or Path(directory) / "log"
        with log.open("ab") as stderr:
            process = _start(command(data_dir), stderr)
        started: list[Started] = []
        try:
            url = _ready(process, log)
            started = _below(process.pid)
            yield OwnServer(Management.find(url, data_dir, None), process.pid, data_dir)
        finally:
            _end(process, started)


def _start(arguments: Sequence[str], stderr: IO[bytes]) -> subprocess.Popen[bytes]:
    # What the environment says about servers is meant for another one.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ENV_PREFIX)}
    command = [sys.executable, *arguments]
    return subprocess.Popen(  # noqa: S603 - this very program, with options of ours
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, env=environment, start_new_session=True
    )


def _ready(process: subprocess.Popen[bytes], log: Path) -> str:
    assert process.stdout is not None
    deadline = time.monotonic() + READY_S
    said = b""
    while b"\n" not in said:
        if not select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise error(Code.UNAVAILABLE, f"the server was not ready within {READY_S:.0f} s{_tail(log)}")
        chunk = os.read(process.stdout.fileno(), 4096)
        if not chunk:
            raise error(Code.UNAVAILABLE, f"the server did not start{_tail(log)}")
        said += chunk
    return said.split(b"\n")[0].decode().removeprefix("ready ")


def _tail(log: Path) -> str:
    text = log.read_text(errors="replace").strip()[-LOG_TAIL_CHARS:]
    return f"; it said:\n{text}" if text else ""


def _below(pid: int) -> list[Started]:
    found = []
    with suppress(psutil.NoSuchProcess):
        for process in psutil.Process(pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                found.append(Started(process.pid, process.create_time()))
    return found


def _end(process: subprocess.Popen[bytes], started: list[Started]) -> None:
    started = [*started, *_below(process.pid)]
    for patience_s in (END_S, AT_ONCE_S):
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(patience_s)
            break
        except (subprocess.TimeoutExpired, KeyboardInterrupt):  # a second Ctrl-C: somebody won't wait
            started += _below(process.pid)
    else:
        process.kill()
        process.wait()
    children.end(started, grace_s=0)
    if process.stdout is not None:
        process.stdout.close()
