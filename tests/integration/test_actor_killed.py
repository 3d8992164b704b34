"""`kill -9` of single processes of a real server while people play: nothing lost, nothing twice, and a hiccup at most."""

import asyncio
import os
import signal
import time
from collections.abc import Callable

import pytest

from tests.integration.players import WITHIN_S, Party, eventually, party
from tests.integration.serving import Server
from undying.cli.management import Management

pytestmark = [pytest.mark.ray]

BACK_MS_MAX = 10_000


async def pid_of(server: Server, actor: str) -> int:
    """Return the pid of a living actor (an id as in `undying status`)."""
    management = Management(server.url, server.admin_token)
    pids: list[int] = []

    def find() -> None:
        rows = management.status()["actors"]
        assert isinstance(rows, list)
        pids.extend(row["pid"] for row in rows if isinstance(row, dict) and row["id"] == actor and row["state"] == "live")  # type: ignore[misc]

    async with asyncio.timeout(WITHIN_S):
        while not pids:
            await asyncio.to_thread(find)
    return pids[0]


async def kill(server: Server, actor: str) -> float:
    """Kill an actor's process; returns when that was."""
    pid = await pid_of(server, actor)
    killed_s = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    return killed_s


async def play_through_kills(server: Server, victim: Callable[[Party], str], affected: Callable[[Party], str]) -> Party:
    """Play, kill the victim twice meanwhile, play on, and check everything. Returns the party as it was then."""
    async with party(server, ["ada", "bea", "cid"]) as playing:
        playing.begin()
        for _ in range(2):
            await playing.until(more=40)
            killed_s = await kill(server, victim(playing))
            await playing.until(more=20, stream=affected(playing))
            gap_ms = playing.gap_ms(affected(playing), killed_s)
            print(f"{victim(playing)}: next ack {gap_ms:.0f} ms after its kill")  # noqa: T201 - a measurement, for `pytest -s`
            assert gap_ms < BACK_MS_MAX
        await playing.finish()
        await playing.verdict()
        return playing


async def test_a_table_plays_on_through_kills_of_its_session_on_the_same_connections(server: Server) -> None:
    playing = await play_through_kills(server, lambda table: table.streams[0], lambda table: table.streams[0])
    assert playing.cut_off() == []


async def test_a_table_plays_on_through_kills_of_a_character_on_the_same_connections(server: Server) -> None:
    playing = await play_through_kills(server, lambda table: table.streams[1], lambda table: table.streams[1])
    assert playing.cut_off() == []


async def test_clients_come_back_by_themselves_after_kills_of_their_gateway(server: Server) -> None:
    playing = await play_through_kills(server, lambda _: "gateway:1", lambda table: table.streams[0])
    assert playing.cut_off() == ["gm", "ada", "bea", "cid"]


async def test_questions_to_a_provider_that_is_killed_meanwhile_are_answered_once_each(server: Server) -> None:
    async with party(server, ["ada"]) as playing:
        asking, asks = playing.players[1], list[str]()

        def answered() -> list[object]:
            return [event.data["ask"] for event in asking.heard if event.kind == "ai.answered"]

        def all_answered() -> bool:
            return set(asks) <= set(answered())

        for _ in range(2):
            asks.append(await asking.seat.ask_ai("Is anybody there?"))
            killed_s = await kill(server, "provider:oracle")
            asks += [await asking.seat.ask_ai(f"Who is it, number {number}?") for number in range(5)]
            await eventually(all_answered)
            print(f"provider:oracle: all answers {(time.monotonic() - killed_s) * 1000:.0f} ms after its kill")  # noqa: T201 - a measurement, for `pytest -s`
        assert sorted(map(str, answered())) == sorted(asks)
        assert playing.cut_off() == []


async def test_nobody_at_a_table_notices_kills_of_supervisors_and_what_these_supervise_still_comes_back(server: Server) -> None:
    async with party(server, ["ada"]) as playing:
        session = playing.streams[0]
        playing.begin()
        for actor in ("supervisor:sessions", "supervisor:hosts", "supervisor:gateways", "root"):
            await kill(server, actor)
            await playing.until(more=10, stream=session)
            killed_s = await kill(server, session)
            await playing.until(more=10, stream=session)
            gap_ms = playing.gap_ms(session, killed_s)
            print(f"{session}, just after {actor}: next ack {gap_ms:.0f} ms after its kill")  # noqa: T201 - a measurement, for `pytest -s`
            assert gap_ms < BACK_MS_MAX
        await playing.finish()
        await playing.verdict()
        assert playing.cut_off() == []
