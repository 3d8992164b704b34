"""One seed, one run: a safety phase in which things go wrong, then peace, in which everything has to come right."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

from persistence.memory import MemoryStore
from tests.simulation.checker import Journal, check
from tests.simulation.players import Player, Visitor
from tests.simulation.troubles import FAULTS_S, HAUNT_S, Troubles
from tests.simulation.world import World
from tests.virtual_time import run_virtual
from undying.protocol.codec import Encoding
from undying.protocol.data import JsonObject
from undying.protocol.ids import Role
from undying.protocol.position import NOWHERE

PEACE_S = 180.0
OPS = 14
HP = 500_000
VISITS = 4
HAUNTED_SHARE = 0.12
"""Of all runs, those in which an entity gets into quarantine."""


def simulate(seed: int) -> Counter[str]:
    """Run one seed; return what happened, by name. Raises what went wrong."""
    return run_virtual(_run(random.Random(seed)), limit_s=FAULTS_S + HAUNT_S + PEACE_S + 60.0)


async def _run(rng: random.Random) -> Counter[str]:
    world = World(rng, shared_hosts=rng.random() < 0.5)
    await world.start()
    session, side_table = await world.create_session(), await world.create_session()
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
    troubles = Troubles(world)
    making = asyncio.create_task(troubles.make())
    playing = [asyncio.create_task(player.play(OPS, pause_s=FAULTS_S)) for player in players]
    visitor = Visitor(world, side_table)
    if world.rest_s:
        playing.append(asyncio.create_task(visitor.visit(VISITS, rest_s=world.rest_s)))
    await making
    await troubles.make_peace()
    if rng.random() < HAUNTED_SHARE:
        await troubles.haunt(rng.choice([f"session:{session}", f"character:{players[0].character}"]))
    try:
        async with asyncio.timeout(PEACE_S):
            await asyncio.gather(*playing)
            await troubles.drained_for_good()
            journals = await _settle(world, players)
    except TimeoutError:
        raise AssertionError(await _what_hangs(world, players, visitor)) from None
    for player in players:
        _note_hit_points(player)
        await player.table.__aexit__(None, None, None)
    await asyncio.gather(*listening, return_exceptions=False)
    check([visitor.history, *(player.history for player in players)], journals)
    return world.weather.seen


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


async def _what_hangs(world: World, players: list[Player], visitor: Visitor) -> str:
    histories = [visitor.history, *(player.history for player in players)]
    lines = [
        "did not converge in peace",
        *(f"{player.history.user}: {player.table.status} at {player.table.positions}" for player in players),
        *(f"{each.user} got no answer to {[op for op in each.ops if op.outcome is None]}" for each in histories),
    ]
    store = MemoryStore(world.database)
    lines.extend([f"{stream}: {await store.last(stream)}" for stream in world.database.journals])
    lines.extend(f"{node}: {world.processes_on(node)}" for node in world.nodes)
    return "\n".join(lines)


def _note_hit_points(player: Player) -> None:
    if player.character is None:
        return
    hit_points = player.table.state.sheet(player.character)["hp"]
    assert isinstance(hit_points, dict)
    player.history.final = {"hp_first": HP, "hp": hit_points["current"]}
