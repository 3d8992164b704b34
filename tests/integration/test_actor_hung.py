"""SIGSTOP of real processes while people play: what hangs is ended and replaced, and nothing is lost."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress

import psutil
import pytest

from tests.integration.players import Party, eventually, party
from tests.integration.serving import Server
from tests.integration.test_actor_killed import pid_of

pytestmark = [pytest.mark.ray]

HANG_S = 5.0
"""`--hang-s` of the server under test: the default."""

BACK_MS_MAX = (HANG_S * 1.2 + 10) * 1000


def is_gone(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


async def play_through_a_hang(server: Server, victim: Callable[[Party], str]) -> Party:
    """Play, stop the victim's process meanwhile, play on, and check everything. Returns the party as it was then."""
    async with party(server, ["ada", "bea"]) as playing:
        playing.begin()
        await playing.until(more=40)
        pid = await pid_of(server, victim(playing))
        stopped_s = time.monotonic()
        os.kill(pid, signal.SIGSTOP)
        try:
            await playing.until(more=20, stream=playing.streams[0])
            gap_ms = playing.gap_ms(playing.streams[0], stopped_s)
            print(f"{victim(playing)}: next ack {gap_ms:.0f} ms after it was stopped")  # noqa: T201 - a measurement, for `pytest -s`
            assert HANG_S * 1000 <= gap_ms < BACK_MS_MAX
            await eventually(lambda: is_gone(pid))
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        await playing.until(more=40)
        await playing.finish()
        await playing.verdict()
        return playing


async def test_a_table_plays_on_elsewhere_on_the_same_connections_when_its_session_hangs(server: Server) -> None:
    playing = await play_through_a_hang(server, lambda table: table.streams[0])
    assert playing.cut_off() == []


async def test_clients_come_back_by_themselves_when_their_gateway_hangs(server: Server) -> None:
    await play_through_a_hang(server, lambda _: "gateway:1")
