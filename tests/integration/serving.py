"""One real `undying serve` as a subprocess, and tables on it: what the tests of the whole server share.

A `Server` ends with all that it started, also when the test run fails half-way. Ids of tables are the server's own, so
tests that share a server never meet each other's tables.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import psutil

from undying.cli import datadir

REPOSITORY = Path(__file__).parents[2]
READY_S = 120
END_S = 60
REQUEST_S = 20


@dataclass(frozen=True)
class Table:
    """A session and the tokens of its members by the names that they were invited under; `gm` is the game master's."""

    session: str
    tokens: Mapping[str, str]
    users: Mapping[str, str]

    @property
    def stream(self) -> str:
        """Return the session's stream."""
        return f"session:{self.session}"


@dataclass(frozen=True)
class Server:
    """A running server: where it is, where its data are, and its process."""

    url: str
    data_dir: Path
    process: subprocess.Popen[str]
    seen: list[psutil.Process] = field(default_factory=list)

    @property
    def admin_token(self) -> str:
        """Return the token that management commands find in the data directory."""
        token = datadir.read_fact(self.data_dir / datadir.ADMIN_TOKEN)
        assert token is not None
        return token

    def post(self, path: str, token: str, body: Mapping[str, object]) -> dict[str, Any]:
        """Ask over HTTP and return the answer. Raises urllib.error.HTTPError for a refusal."""
        request = urllib.request.Request(
            self.url + path,
            json.dumps(body).encode(),
            {"authorization": f"Bearer {token}", "content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=REQUEST_S) as answer:
            return cast("dict[str, Any]", json.load(answer))

    def make_table(self, members: Mapping[str, str] | None = None, name: str = "Table") -> Table:
        """Make a session; `members` maps names to roles (`player`, `spectator`, `agent`, `gm`), one player `ada` by default."""
        made = self.post("/v1/sessions", self.admin_token, {"name": name})
        session, gm_token = made["session"], made["gm_token"]
        tokens, users = {"gm": gm_token}, {}
        for member, role in (members if members is not None else {"ada": "player"}).items():
            invited = self.post(
                f"/v1/sessions/{session}/invites", gm_token, {"role": role, "name": member, "user": f"{member}-user"}
            )
            tokens[member], users[member] = invited["token"], invited["user"]
        return Table(session, tokens, users)


@contextmanager
def serving(data_dir: Path, *options: str, **environment: str) -> Iterator[Server]:
    """Serve on `data_dir` with the options given, until the block ends; then nothing of it is left.

    `environment` is added to this process's.
    """
    log = (data_dir.parent / f"{data_dir.name}.log").open("a")
    process = subprocess.Popen(
        [sys.executable, "-m", "undying.cli.main", "serve", "--port", "0", "--data-dir", str(data_dir), *options],
        stdout=subprocess.PIPE,
        stderr=log,
        cwd=REPOSITORY,
        env={**os.environ, **environment},
        text=True,
    )
    server = None
    try:
        server = Server(_ready(process), data_dir, process, psutil.Process(process.pid).children(recursive=True))
        yield server
    finally:
        _end(process, server.seen if server is not None else [])
        log.close()


def _ready(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()  # empty when the process ended instead
    word, _, url = line.strip().partition(" ")
    assert word == "ready", f"the server said {line!r} and not that it is ready"
    return url


def _end(process: subprocess.Popen[str], seen: list[psutil.Process]) -> None:
    with suppress(psutil.NoSuchProcess):
        seen += psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    try:
        process.communicate(timeout=END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
    for child in seen:
        with suppress(psutil.NoSuchProcess):
            child.kill()
