"""Clients that play at one table, in lanes, while something may happen to its server.

A *lane* is one sequence of ops, each asked when the one before it was answered; every op carries a mark that tells it from all
others. Everybody speaks and rolls dice, the game master wounds a character in two lanes, and one player asks the oracle: there
an op is done when its answer was heard. So whatever is asked of a session, a character or a provider has a lane that feels
how long it takes. `check(crowd.notes)` judges what the clients saw, once the crowd was left.

A lane rests, plays (paced by pauses of up to `pause_s`, since clients and server may share a machine), or is stuck: an op that
was not answered within `OP_S` is given up, and the lane goes on with the next one. An op that fails is written down in
`refused`; a client whose table ended plays no more.
"""

from __future__ import annotations

import asyncio
import random
from bisect import bisect_right
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final, NamedTuple

from undying.client.connecting import connect
from undying.client.failures import Disconnected
from undying.client.limits import Limits
from undying.client.table import Table
from undying.client.websocket import dialer
from undying.loadtest.history import Notes, Tap, Witness
from undying.protocol.errors import UndyingError
from undying.protocol.position import NOWHERE, Position

OP_S: Final = 60.0
"""Seconds that one op may take before its caller gives up."""

CONVERGE_S: Final = 30.0
"""Seconds that all clients have, once nobody asks any more, to have heard everything."""

HIT_POINTS: Final = 1_000_000
ORACLE: Final = "provider:oracle"
LIMITS: Final = Limits(queue=100_000)
"""A witness may be slow for a while; it must not miss anything."""


class Turn(NamedTuple):
    """One op of a lane that was answered: of which stream, and when it was asked and answered."""

    stream: str
    asked_s: float
    done_s: float


@dataclass(slots=True)
class Lane:
    """One sequence of ops; `ask` takes the mark. `stream` is whose answer ends an op."""

    name: str
    stream: str
    ask: Callable[[str], Awaitable[object]]
    asked: int = 0

    def next_mark(self, word: str) -> str:
        """Return the next op's mark, with a word added to it if there is one."""
        self.asked += 1
        return f"{self.name}-{self.asked}{word and ' '}{word}"


class Crowd:
    """Who plays at one table. `clock` is the event loop's time."""

    def __init__(self, tables: Sequence[Table], notes: Sequence[Notes], character: str, pause_s: float) -> None:
        self.notes = notes
        self.session = tables[0].stream
        self.character = f"character:{character}"
        self.turns: list[Turn] = []
        self.refused: list[str] = []
        self._tables = tables
        self._pause_s = pause_s
        self._lanes = _lanes(tables, character)
        self._playing: list[asyncio.Task[None]] = []
        self._over = asyncio.Event()
        self._played = asyncio.Event()

    @property
    def streams(self) -> tuple[str, str, str]:
        """Return the streams that are asked something: the session's, the character's, the provider's."""
        return self.session, self.character, ORACLE

    @property
    def sockets_closed(self) -> int:
        """Return how often a client's connection broke."""
        return sum(len(each.broken_s) for each in self.notes)

    def play(self) -> None:
        """Let all lanes play."""
        self._over.clear()
        self._playing = [asyncio.create_task(self._keep_asking(lane)) for lane in self._lanes]

    async def rest(self) -> None:
        """Let no lane ask any more; returns when all that was asked is answered or given up."""
        self._over.set()
        await asyncio.gather(*self._playing)
        self._playing = []

    async def one(self, stream: str, word: str = "") -> Turn | None:
        """Ask one op of a stream beside what its lane does, with a word in its mark; None when it was not done."""
        return await self._ask(next(lane for lane in self._lanes if lane.stream == stream), word)

    async def next_turn(self, stream: str, after_s: float, within_s: float) -> Turn | None:
        """Return the first turn of a stream that was asked after a moment; None when none was answered within so long."""
        return next(iter(await self._turns(stream, after_s, 1, within_s)), None)

    async def played(self, stream: str, more: int, within_s: float) -> bool:
        """Return when so many more turns of a stream were asked and answered; False when they were not within so long."""
        return len(await self._turns(stream, asyncio.get_running_loop().time(), more, within_s)) >= more

    async def _turns(self, stream: str, after_s: float, count: int, within_s: float) -> list[Turn]:
        """Return the first turns of a stream that were asked after a moment, in the order of their answers."""
        first = bisect_right(self.turns, after_s, key=lambda turn: turn.done_s)
        found: list[Turn] = []
        try:
            async with asyncio.timeout(within_s):
                while True:
                    found = [turn for turn in self.turns[first:] if turn.stream == stream and turn.asked_s > after_s]
                    if len(found) >= count:
                        break
                    self._played.clear()
                    await self._played.wait()
        except TimeoutError:
            pass  # then it is fewer
        return found

    async def converge(self) -> bool:
        """Wait until everybody has heard of the session what anybody has heard; False when they have not in time."""
        last = max((self._reached(table) for table in self._tables), default=NOWHERE)
        acked = max((ack.position for each in self.notes for ack in each.acks if ack.fact.stream == self.session), default=last)
        try:
            async with asyncio.timeout(CONVERGE_S):
                for table in self._tables:
                    await table.until(lambda table=table: self._reached(table) >= max(last, acked))  # type: ignore[misc]
        except (TimeoutError, Disconnected):
            return False
        return True

    def cancel(self) -> None:
        """Let all lanes go."""
        for task in self._playing:
            task.cancel()

    def _reached(self, table: Table) -> Position:
        return table.positions.get(self.session, NOWHERE)

    async def _keep_asking(self, lane: Lane) -> None:
        rng = random.Random(lane.name)
        while not self._over.is_set():
            try:
                await self._ask(lane, "")
            except Disconnected:
                return
            await asyncio.sleep(rng.uniform(0, self._pause_s))

    async def _ask(self, lane: Lane, word: str) -> Turn | None:
        """Ask one op. Raises Disconnected when the table has ended."""
        clock = asyncio.get_running_loop().time
        mark, asked_s = lane.next_mark(word), clock()
        try:
            async with asyncio.timeout(OP_S):
                await lane.ask(mark)
        except (UndyingError, TimeoutError) as problem:
            self.refused.append(f"{mark} of {lane.stream}: {problem or f'no answer within {OP_S:g} s'}")
            if isinstance(problem, Disconnected):
                raise
            return None
        turn = Turn(lane.stream, asked_s, clock())
        self.turns.append(turn)
        self._played.set()
        return turn


def _lanes(tables: Sequence[Table], character: str) -> list[Lane]:
    leader, hero, asker = tables[0], tables[0].character(character), tables[-1]
    return [
        *(Lane(f"{table.name}-say", table.stream, table.say) for table in tables),
        *(Lane(f"{table.name}-roll", table.stream, _roller(table)) for table in tables),
        *(Lane(f"{leader.name}-{hand}", hero.stream, lambda mark: hero.damage(1, reason=mark)) for hand in ("left", "right")),
        Lane(f"{asker.name}-ask", ORACLE, _asker(asker)),
    ]


def _roller(table: Table) -> Callable[[str], Awaitable[object]]:
    return lambda mark: table.roll("2d20kh1+5", label=mark)


def _asker(table: Table) -> Callable[[str], Awaitable[object]]:
    async def ask(mark: str) -> None:
        question = await table.ask_ai(mark)
        await table.until(lambda: _is_answered(table, question))

    return ask


def _is_answered(table: Table, question: str) -> bool:
    return any(
        isinstance(ask, dict) and ask.get("ask") == question and ("text" in ask or "error" in ask) for ask in table.state.asks
    )


@asynccontextmanager
async def seated(url: str, tokens: Mapping[str, str], pause_s: float) -> AsyncIterator[Crowd]:
    """Seat people at the table that their tokens (by name, the game master's first) are for, and make them a character.

    They leave at the end; what they wrote down is complete then. Raises UndyingError when one of them can't be seated.
    """
    clock = asyncio.get_running_loop().time
    async with AsyncExitStack() as seats:
        tables: list[Table] = []
        notes: list[Notes] = []
        for client, token in enumerate(tokens.values()):
            noted = Notes(client)
            tap = Tap(noted, dialer("msgpack"), clock, asyncio.Event())
            table = connect(url, token, name="undying-loadtest", limits=LIMITS, transport=tap.dial)
            seats.push_async_callback(Witness(table, noted).finish)  # once the table was left
            await seats.enter_async_context(table)
            noted.user = table.user
            tables.append(table)
            notes.append(noted)
        hero = await tables[0].create_character({"name": "Nott", "hp": {"current": HIT_POINTS, "max": HIT_POINTS}})
        crowd = Crowd(tables, notes, hero.id, pause_s)
        try:
            yield crowd
        finally:
            crowd.cancel()
