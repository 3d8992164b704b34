"""A rolling restart of a real server while people play: nothing lost, nothing refused, hardly a pause."""

import asyncio

import pytest

from tests.integration.players import party
from tests.integration.serving import Server
from tests.integration.test_actor_killed import pid_of
from undying.cli.drain import processes, rows_of, wait_until
from undying.cli.management import Management

pytestmark = [pytest.mark.ray]


async def test_people_play_on_while_every_process_of_their_server_is_replaced(server: Server) -> None:
    management = Management(server.url, server.admin_token)
    async with party(server, ["ada", "bea"]) as playing:
        playing.begin()
        await playing.until(more=40)
        session = playing.streams[0]
        before = processes(await asyncio.to_thread(rows_of, management))
        old = await pid_of(server, session)
        await asyncio.to_thread(management.restart)
        await asyncio.to_thread(wait_until, management, lambda rows: not before & processes(rows))
        assert await pid_of(server, session) != old
        await playing.until(more=40)
        await playing.finish()
        await playing.verdict()
