"""A client that an outside author wrote in JavaScript, from the protocol document alone, plays at a real server.

The play itself, `tests/foreign_client/play.mjs`, prints one line for each check, also for those of killed processes.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.serving import Server

PLAY = Path(__file__).parents[1] / "foreign_client" / "play.mjs"
PLAY_S = 180  # more than the play gives itself: its own verdict says more than a timeout here
NODE = shutil.which("node")

pytestmark = [pytest.mark.ray, pytest.mark.skipif(NODE is None, reason="node is not on PATH")]


def undying_status(server: Server) -> list[str]:
    program = Path(sys.executable).with_name("undying")
    return [str(program), "status", "--json", "--data-dir", str(server.data_dir)]


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
def test_a_client_in_another_language_holds_the_server_to_the_protocol(server: Server, encoding: str) -> None:
    made = server.post("/v1/sessions", server.admin_token, {"name": f"Foreign table, {encoding}"})
    invite = server.post(f"/v1/sessions/{made['session']}/invites", made["gm_token"], {"role": "player", "name": "Ann"})
    command = [str(NODE), str(PLAY), server.url, made["gm_token"], invite["token"], encoding, *undying_status(server)]

    play = subprocess.run(command, capture_output=True, text=True, timeout=PLAY_S, check=False)

    assert play.returncode == 0, f"{play.stdout}\n{play.stderr}"
