"""The data directory of a server: who may use it, its admin token, where the server is, what it started.

    lock         held (flock) as long as a server uses the directory; the kernel lets go of it when the server dies
    admin-token  the management token, mode 0600, made on the first start and kept
    url          the running server's base url, gone after an orderly end
    run.json     the processes that the server started, for the next start to end them after a `kill -9`
    server-id    a random name that tells this directory's servers from others on the same Ray cluster
    store/, run/ the files of the embedded store; sockets, and what Ray writes (`run_directory`)

The directory is mode 0700. One that was there before, with other things in it, keeps its mode: the secrets have their own.

Invariant: whoever holds a `DataDir` holds the lock, so two servers never write one directory.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple, Self
from urllib.parse import urlsplit

from undying.protocol.errors import Code, UndyingError, error

LOCK: Final = "lock"
ADMIN_TOKEN: Final = "admin-token"
URL: Final = "url"
RUN: Final = "run.json"
SERVER_ID: Final = "server-id"

TOKEN_BYTES: Final = 32
FACT_BYTES_MAX: Final = 4_096
"""A url or a token is shorter; what is longer is not one."""

RUN_PATH_BYTES_MAX: Final = 38
"""Ray adds some 65 bytes to this for its sockets, whose names the kernel bounds at 107."""

SOCKETS: Final = "h"

RUN_BYTES_MAX: Final = 4 * 1024 * 1024


class Started(NamedTuple):
    """A process that a server started. The time (seconds since 1970) tells it from a later one with the same pid."""

    pid: int
    created: float


class DataDir:
    """An opened data directory; the lock is held until `close`."""

    def __init__(self, path: Path, lock: int) -> None:
        self._path = path
        self._lock = lock

    @classmethod
    def open(cls, path: Path) -> Self:
        """Make the directory when it is not there, and lock it.

        Raises UndyingError: ALREADY_EXISTS when a server runs on it, UNAVAILABLE when it can't be made or written.
        """
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if _is_ours(path):
                path.chmod(0o700)
            lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as problem:
            raise _unusable(path, problem) from problem
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise error(Code.ALREADY_EXISTS, f"a server is already running on {path}", data_dir=str(path)) from None
        except OSError as problem:
            os.close(lock)
            raise _unusable(path, problem) from problem
        return cls(path, lock)

    def admin_token(self) -> str:
        """Return the directory's admin token; makes it the first time. Raises UndyingError UNAVAILABLE."""
        return self._kept(ADMIN_TOKEN, secrets.token_urlsafe(TOKEN_BYTES))

    def server_id(self) -> str:
        """Return the directory's id, 16 hexadecimal digits; makes it the first time. Raises UndyingError UNAVAILABLE."""
        return self._kept(SERVER_ID, secrets.token_hex(8))

    def announce(self, url: str) -> None:
        """Write where the server is. Raises UndyingError UNAVAILABLE."""
        self._write(URL, url + "\n")

    def port_left_behind(self) -> int | None:
        """Return the port of an earlier server that did not withdraw. Raises UndyingError UNAVAILABLE."""
        try:
            return urlsplit(read_fact(self._path / URL) or "").port
        except ValueError:
            return None

    def withdraw(self) -> None:
        """Forget where the server is and what it started. Called when both are gone."""
        for name in (URL, RUN):
            with suppress(OSError):  # the next start overwrites them
                (self._path / name).unlink(missing_ok=True)

    def record(self, processes: list[Started]) -> None:
        """Keep what was started. Raises UndyingError UNAVAILABLE."""
        self._write(RUN, json.dumps({"processes": processes}))

    def left_behind(self) -> list[Started]:
        """Return what an earlier server recorded and did not withdraw; nothing when that can't be read."""
        try:
            with (self._path / RUN).open("rb") as file:
                run = json.loads(file.read(RUN_BYTES_MAX))
            return [Started(int(pid), float(created)) for pid, created in run["processes"]]
        except (OSError, ValueError, TypeError, KeyError):
            # Only a hint: torn by the crash that it is about, or not there. The lock is what keeps servers apart.
            return []

    def close(self) -> None:
        """Let go of the lock."""
        os.close(self._lock)

    def _kept(self, name: str, fresh: str) -> str:
        kept = read_fact(self._path / name)
        if kept is None:
            self._write(name, fresh + "\n")
            kept = fresh
        return kept

    def _write(self, name: str, text: str) -> None:
        """Replace a file as a whole, readable by its owner only from its first byte on."""
        draft = self._path / f".{name}.new"
        try:
            with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:  # noqa: PTH123 - the mode has to be set at creation
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path / name)
        except OSError as problem:
            raise _unusable(self._path, problem) from problem


def run_directory(data_dir: Path) -> Path:
    """Return where a server's sockets and temporary files are: in the data directory, when its path is short enough for that.

    Else in the system's directory for such files. The same place at every start, so that the next one finds what was left.
    """
    near = data_dir / "run"
    if len(bytes(near)) <= RUN_PATH_BYTES_MAX:
        return near
    return _temporary(data_dir)


def _temporary(data_dir: Path) -> Path:
    return Path(tempfile.gettempdir()) / f"undying-{hashlib.blake2b(bytes(data_dir), digest_size=6).hexdigest()}"


def socket_of(data_dir: Path, node: str, process: str) -> Path:
    """Return where a process of a server listens for others on its node (`actors.direct`).

    On a machine that has no such data directory, which another machine's server has, it is in the system's temporary one.
    """
    home = run_directory(data_dir)
    return (home if home.is_dir() else _temporary(data_dir)) / SOCKETS / f"{node}-{process}"


def read_fact(path: Path) -> str | None:
    """Return the one line in a file, None when it is not there or empty. Raises UndyingError UNAVAILABLE."""
    try:
        with path.open("rb") as file:
            data = file.read(FACT_BYTES_MAX)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as problem:
        raise _unusable(path, problem) from problem
    return data.decode("utf-8", "replace").strip() or None


def _is_ours(path: Path) -> bool:
    return (path / LOCK).exists() or next(path.iterdir(), None) is None


def _unusable(path: Path, problem: OSError) -> UndyingError:
    return error(Code.UNAVAILABLE, f"can't use {path}: {problem.strerror or problem}", path=str(path))
