"""A rolling restart of a real server while people play: nothing lost, nothing refused, hardly a pause."""

import asyncio

import pytest

from tests.integration.players import party
from tests.integration.serving import Server
from tests.integration.test_actor_killed import pid_of
from undying.cli.drain import pids_on, wait_until_replaced
from undying.cli.management import Management

pytestmark = [pytest.mark.ray]


def node_of(management: Management, actor: str) -> str:
    """Return the node on which an actor lives."""
    rows = management.status()["actors"]
    assert isinstance(rows, list)
    return next(str(row["node"]) for row in rows if isinstance(row, dict) and row["id"] == actor)


async def test_people_play_on_while_every_process_that_serves_them_is_replaced(server: Server) -> None:
    management = Management(server.url, server.admin_token)
    async with party(server, ["ada", "bea"]) as playing:
        playing.begin()
        await playing.until(more=40)
        session = playing.streams[0]
        pid, node = await pid_of(server, session), await asyncio.to_thread(node_of, management, session)
        before = await asyncio.to_thread(pids_on, management, node)
        assert pid in before
        await asyncio.to_thread(management.drain, node)
        await asyncio.to_thread(wait_until_replaced, management, node, before)
        await playing.until(more=40)
        await playing.finish()
        await playing.verdict()
        assert await pid_of(server, session) not in before
