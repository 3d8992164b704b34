"""The history of a real server: told by those who saw an ending, kept by the tracker, there when all of them are gone."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.serving import Server, serving
from undying.cli.management import Management, is_ready
from undying.protocol.errors import Code, UndyingError

pytestmark = [pytest.mark.ray, pytest.mark.store]

OPTIONS = ("--rate-limit", "0", "--actors-per-node", "2", "--spares", "1")
WITHIN_S = 60.0


class Watched:
    """A server, as an admin sees it."""

    def __init__(self, server: Server) -> None:
        self.url = server.url
        self._management = Management(server.url, server.admin_token)

    def row(self, actor: str) -> dict[str, Any]:
        """Return the row of an actor that lives, once it does."""
        rows: list[Any] = []

        def lives() -> bool:
            actors: Any = self._management.status()["actors"]
            rows[:] = [row for row in actors if row["id"] == actor and row["state"] == "live"]
            return bool(rows)

        until(lives)
        return dict(rows[0])

    def kill(self, actor: str) -> None:
        os.kill(self.row(actor)["pid"], signal.SIGKILL)

    def endings(self, actor: str, count: int) -> list[dict[str, Any]]:
        """Return what is told of an actor, the latest first, once it is so much."""
        rows: list[Any] = []

        def told() -> bool:
            try:
                history: Any = self._management.endings(1000)["history"]
            except UndyingError as away:  # the tracker is being restarted
                if away.failure.code is not Code.UNAVAILABLE:
                    raise
                return False
            rows[:] = [row for row in history if row["id"] == actor]
            return len(rows) >= count

        until(told)
        return rows


def until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come about"
        time.sleep(0.02)


def test_the_history_outlives_who_saw_it_who_kept_it_and_the_server(tmp_path: Path) -> None:
    with serving(tmp_path / "data", *OPTIONS) as server:
        watched = Watched(server)
        table = server.make_table().stream
        assert watched.row("tracker")["kind"] == "tracker"
        watched.kill(table)
        (ending,) = watched.endings(table, 1)
        assert (ending["kind"], ending["reason"], ending["decided"]) == ("session", "killed", "restart")
        assert abs(ending["at_ms"] - time.time() * 1000) < WITHIN_S * 1000
        watched.kill("tracker")
        watched.kill(table)
        assert is_ready(server.url, WITHIN_S)
        assert [row["nth"] for row in watched.endings(table, 2)] == [2, 1]
        watched.kill("supervisor:sessions")
        watched.endings("supervisor:sessions", 1)
        (tracker,) = watched.endings("tracker", 1)
        assert (tracker["by"], tracker["decided"]) == ("root", "restart")
    with serving(tmp_path / "data", *OPTIONS) as server:
        watched = Watched(server)
        assert len(watched.endings(table, 2)) == 2
        assert server.post(f"/v1/sessions/{table.partition(':')[2]}/invites", server.admin_token, {"role": "gm", "name": "x"})
        watched.endings("supervisor:sessions", 1)
