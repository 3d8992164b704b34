"""SIGSTOP of a real session's process while people play: a process that hangs is replaced, and its wakening does no harm."""

import os
import signal
import time
from contextlib import suppress

import pytest

from tests.integration.players import party
from tests.integration.serving import Server
from tests.integration.test_actor_killed import pid_of

pytestmark = [pytest.mark.ray]

HANG_S = 5.0
"""`--hang-s` of the server under test: the default."""

BACK_MS_MAX = (HANG_S * 1.2 + 10) * 1000


async def test_a_table_plays_on_elsewhere_when_its_process_hangs_and_a_late_wakening_changes_nothing(
    server: Server,
) -> None:
    async with party(server, ["ada", "bea"]) as playing:
        session = playing.streams[0]
        playing.begin()
        await playing.until(more=40)
        pid = await pid_of(server, session)
        stopped_s = time.monotonic()
        os.kill(pid, signal.SIGSTOP)
        try:
            await playing.until(more=20, stream=session)
            gap_ms = playing.gap_ms(session, stopped_s)
            print(f"{session}: next ack {gap_ms:.0f} ms after it was stopped")  # noqa: T201 - a measurement, for `pytest -s`
            assert HANG_S * 1000 <= gap_ms < BACK_MS_MAX
            assert await pid_of(server, session) != pid
        finally:
            with suppress(ProcessLookupError):  # Ray may have ended it by now
                os.kill(pid, signal.SIGCONT)
        await playing.until(more=40)
        await playing.finish()
        await playing.verdict()
        assert playing.cut_off() == []
