"""Clients that play while things die, and remember: what they asked, when it was acknowledged, and all that they heard.

A *lane* is one sequence of ops, each asked when the one before it was acknowledged. So whatever happens meanwhile, a table's
history must in the end hold the ops of each lane once each and in their order; every op carries a mark that tells it from
all others. `Party.verdict` checks that, and that everybody heard the same, against a client that comes in only then.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

import undying
from tests.integration.serving import Server, Table
from undying.client.events import SNAPSHOT, Status, TableEvent
from undying.client.limits import Limits
from undying.client.state import WINDOW
from undying.protocol.data import JsonObject
from undying.protocol.position import Position

MARKED: Final = {"chat.said": "text", "dice.rolled": "label", "hp.changed": "reason"}
"""The events that players ask for, and where in their data the mark is."""
HIT_POINTS: Final = 1_000_000
PAUSE_S: Final = 0.03
"""Longest pause between two ops of a lane, so that clients, server and what is being restarted share two cores."""
WITHIN_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Ack:
    """One op that was acknowledged; times by `time.monotonic`."""

    stream: str
    lane: str
    mark: str
    asked_s: float
    acked_s: float


class Player:
    """One client at its table."""

    def __init__(self, seat: undying.Table, name: str) -> None:
        self.seat = seat
        self.name = name
        self.acks: list[Ack] = []
        self.heard: list[TableEvent] = []
        self.statuses: list[Status] = []
        self._events = seat.events()
        seat.on_status(self.statuses.append)

    async def listen(self) -> None:
        """Remember everything that is heard, until the table is left."""
        async for event in self._events:
            self.heard.append(event)

    def history(self, stream: str) -> list[tuple[Position | None, str]]:
        """Return the positions and marks of the stream's ops that were heard."""
        return [(event.position, mark) for event in self.heard if event.stream == stream and (mark := _mark(event))]

    async def lane(self, name: str, stream: str, ask: Callable[[str], Awaitable[object]], over: asyncio.Event) -> None:
        """Ask one op after the other until it is over."""
        rng, lane, number = random.Random(name), f"{self.name}-{name}", 0
        while not over.is_set():
            mark, asked_s = f"{lane}-{number}", time.monotonic()
            await ask(mark)
            self.acks.append(Ack(stream, lane, mark, asked_s, time.monotonic()))
            number += 1
            await asyncio.sleep(rng.uniform(0, PAUSE_S))  # paces the load; nothing is waited for


def _mark(event: TableEvent) -> str:
    key = MARKED.get(event.kind)
    return "" if key is None else str(event.data.get(key, ""))


class Party:
    """All who play at one table: its game master, the first player, who has a character, and others."""

    def __init__(self, url: str, table: Table, players: Sequence[Player], character: str) -> None:
        self._url = url
        self.table = table
        self.players = players
        self.character = character
        self._over = asyncio.Event()
        self._lanes: list[asyncio.Task[None]] = []

    @property
    def streams(self) -> tuple[str, str]:
        """Return the session's and the character's stream."""
        return self.table.stream, f"character:{self.character}"

    def witnesses(self, stream: str) -> Sequence[Player]:
        """Return who sees what is asked of the stream: everybody, but of the character only the game master and the owner."""
        return self.players if stream == self.table.stream else self.players[:2]

    @property
    def acks(self) -> list[Ack]:
        """Return all acks of all players."""
        return [ack for player in self.players for ack in player.acks]

    def begin(self) -> None:
        """Start to play: everybody speaks and rolls dice, and the game master wounds the character, two wounds at a time."""
        session, sheet = self.streams
        for player in self.players:
            seat = player.seat
            self._start(player, "say", session, seat.say)
            self._start(player, "roll", session, lambda mark, seat=seat: seat.roll("2d20kh1+5", label=mark))  # type: ignore[misc]
        gm, hero = self.players[0], self.players[0].seat.character(self.character)
        for lane in ("left", "right"):
            self._start(gm, lane, sheet, lambda mark: hero.damage(1, reason=mark))

    def _start(self, player: Player, name: str, stream: str, ask: Callable[[str], Awaitable[object]]) -> None:
        self._lanes.append(asyncio.create_task(player.lane(name, stream, ask, self._over)))

    async def until(self, more: int, stream: str = "") -> None:
        """Play on until so many more ops (of the stream, if given) were asked and acknowledged."""
        now = time.monotonic()
        await eventually(lambda: sum(ack.asked_s >= now and stream in ("", ack.stream) for ack in self.acks) >= more)

    async def finish(self) -> None:
        """Ask no more; returns when all that was asked is acknowledged and everybody has heard of it."""
        self._over.set()
        async with asyncio.timeout(WITHIN_S):
            await asyncio.gather(*self._lanes)
        for stream in self.streams:
            asked = sum(ack.stream == stream for ack in self.acks)
            for player in self.witnesses(stream):
                await eventually(lambda player=player, stream=stream, asked=asked: len(player.history(stream)) >= asked)  # type: ignore[misc]

    def gap_ms(self, stream: str, killed_s: float) -> float:
        """Return the time from a kill to the first ack of an op that was asked after it."""
        return min(ack.acked_s - killed_s for ack in self.acks if ack.stream == stream and ack.asked_s >= killed_s) * 1000

    def cut_off(self) -> list[str]:
        """Name the players whose connection was ever lost."""
        return [player.name for player in self.players if "reconnecting" in player.statuses]

    async def verdict(self) -> None:
        """Assert that every acknowledged op happened once and in order, and that all agree, newcomers included."""
        for stream in self.streams:
            self._check_order(stream)
        says = [mark for _, mark in self.players[0].history(self.table.stream) if "-say-" in mark]
        wounds = sum(ack.stream == self.streams[1] for ack in self.acks)
        async with undying.connect(self._url, self.table.tokens["gm"]) as newcomer:
            chat = [line["text"] for line in newcomer.state.chat if isinstance(line, dict)]
            assert chat == says[-WINDOW:]
            hit_points = newcomer.character(self.character).sheet["hp"]
            assert isinstance(hit_points, dict)
            assert hit_points["current"] == HIT_POINTS - wounds

    def _check_order(self, stream: str) -> None:
        heard = self.players[0].history(stream)
        marks = [mark for _, mark in heard]
        assert len(marks) == len(set(marks)), "an op happened twice"
        for lane in {ack.lane for ack in self.acks if ack.stream == stream}:
            asked = [ack.mark for ack in self.acks if ack.lane == lane]
            assert [mark for mark in marks if mark.rpartition("-")[0] == lane] == asked
        for player in self.witnesses(stream):
            assert player.history(stream) == heard, f"{player.name} heard something else of {stream}"
        for player in self.players:
            assert SNAPSHOT not in [event.kind for event in player.heard if event.stream == stream], "events were skipped"


@asynccontextmanager
async def party(server: Server, names: Sequence[str], play_at: str = "") -> AsyncIterator[Party]:
    """Seat a game master and players of those names at a new table of their own; they leave at the end.

    `play_at` is the url at which they play, when that is another one than where the table was made.
    """
    table = await asyncio.to_thread(server.make_table, dict.fromkeys(names, "player"))
    limits = Limits(queue=100_000)
    async with AsyncExitStack() as seats:
        made = [undying.connect(play_at or server.url, table.tokens[name], limits=limits) for name in ("gm", *names)]
        entered = [await seats.enter_async_context(seat) for seat in made]
        sheet: JsonObject = {"name": "Nott", "hp": {"current": HIT_POINTS, "max": HIT_POINTS}}
        hero = await entered[0].create_character(sheet, owner=table.users[names[0]])
        for seat in entered:
            await seat.until(lambda seat=seat: hero.id in seat.state.characters)  # type: ignore[misc]
        players = [Player(seat, name) for seat, name in zip(entered, ("gm", *names), strict=True)]
        listening = [asyncio.create_task(player.listen()) for player in players]
        playing = Party(play_at or server.url, table, players, hero.id)
        try:
            yield playing
        finally:
            for task in [*listening, *playing._lanes]:
                task.cancel()


async def eventually(condition: Callable[[], bool], within_s: float = WITHIN_S) -> None:
    """Return as soon as the condition holds. Raises TimeoutError when it does not in time."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in other processes
            await asyncio.sleep(0.005)
