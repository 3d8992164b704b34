"""One seed, one run: a safety phase in which things go wrong, then peace, in which everything has to come right."""

from __future__ import annotations

import asyncio
import random

from persistence.memory import MemoryStore
from tests.simulation.checker import Journal, check
from tests.simulation.players import Player
from tests.simulation.world import World
from tests.virtual_time import run_virtual
from undying.protocol.codec import Encoding
from undying.protocol.data import JsonObject
from undying.protocol.ids import Role
from undying.protocol.position import NOWHERE

FAULTS_S = 12.0
PEACE_S = 180.0
OPS = 14
HP = 500_000
SUPERVISORS = ("hosts", "sessions", "characters", "providers", "gateways", "tracker")


def simulate(seed: int) -> None:
    """Run one seed. Raises what went wrong."""
    run_virtual(_run(random.Random(seed)), limit_s=FAULTS_S + PEACE_S + 60.0)


async def _run(rng: random.Random) -> None:
    world = World(rng, shared_hosts=rng.random() < 0.5)
    await world.start()
    session = await world.create_session()
    encodings: list[Encoding] = ["msgpack", "json"]
    users = [("gm", Role.GM), ("ann", Role.PLAYER), ("bob", Role.PLAYER), ("eve", Role.SPECTATOR)]
    players = [Player(world, session, user, role, rng.choice(encodings)) for user, role in users]
    for player in players:
        player.meet([user for user, _ in users])
        await player.table.__aenter__()
    listening = [asyncio.create_task(player.listen()) for player in players]
    for player in players[:3]:
        sheet: JsonObject = {"name": player.history.user, "hp": {"current": HP, "max": 2 * HP}}
        player.character = (await player.table.create_character(sheet)).id
    world.weather.storm = rng.choice([0.0, 0.3, 1.0])
    trouble = asyncio.create_task(_trouble(world))
    playing = [asyncio.create_task(player.play(OPS, pause_s=FAULTS_S)) for player in players]
    await trouble
    world.weather.storm, world.weather.store_down = 0.0, False
    try:
        async with asyncio.timeout(PEACE_S):
            await asyncio.gather(*playing)
            journals = await _settle(world, players)
    except TimeoutError:
        raise AssertionError(await _what_hangs(world, players)) from None
    for player in players:
        _note_hit_points(player)
        await player.table.__aexit__(None, None, None)
    await asyncio.gather(*listening, return_exceptions=False)
    check([player.history for player in players], journals)


async def _trouble(world: World) -> None:
    """Make a few things go wrong, at random times."""
    rng = world.rng
    end_s = asyncio.get_running_loop().time() + FAULTS_S
    while (left_s := end_s - asyncio.get_running_loop().time()) > 0:
        await asyncio.sleep(min(left_s, rng.expovariate(0.6)))
        match rng.choice(["host", "host", "gateway", "supervisor", "root", "hang", "hang", "cut", "cut", "store"]):
            case "supervisor":
                await world.crash(rng.choice(SUPERVISORS))
            case "hang":
                await world.hang(rng.choice(["host", "host", "host", *SUPERVISORS]), rng.expovariate(0.15))
            case "cut":
                world.network.cut_one()
            case "store":
                world.weather.store_down = True
                await asyncio.sleep(rng.uniform(0.05, 2.0))
                world.weather.store_down = False
            case program:
                await world.crash(program)


async def _settle(world: World, players: list[Player]) -> dict[str, Journal]:
    """Wait until every player has heard of everything, and return the journals."""
    await players[0].table.say("the end")
    while True:
        store = MemoryStore(world.database)
        streams = [name for name in world.database.journals if not name.startswith("provider:")]
        journals = {name: Journal(await store.read(name, NOWHERE, 10**6)) for name in streams}
        behind = [
            (player.history.user, stream)
            for player in players
            for stream, position in player.table.positions.items()
            if tuple(position) != journals[stream].last
        ]
        # A character that was slow to come back is shown to its player later than the table.
        absent = [each for each in players if each.character and f"character:{each.character}" not in each.table.positions]
        if not behind and not absent:
            return journals
        await asyncio.sleep(0.5)


async def _what_hangs(world: World, players: list[Player]) -> str:
    lines = ["did not converge in peace"]
    for player in players:
        history, table = player.history, player.table
        unanswered = [op for op in history.ops if op.outcome is None]
        lines.append(f"{history.user}: {table.status} at {table.positions}, unanswered {unanswered}")
    store = MemoryStore(world.database)
    lines.extend([f"{stream}: {await store.last(stream)}" for stream in world.database.journals])
    return "\n".join(lines)


def _note_hit_points(player: Player) -> None:
    if player.character is None:
        return
    hit_points = player.table.state.sheet(player.character)["hp"]
    assert isinstance(hit_points, dict)
    player.history.final = {"hp_first": HP, "hp": hit_points["current"]}
