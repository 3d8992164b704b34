"""What tables go through when they are measured: created and played once, at rest, woken; or live, all at the same time.

Wrong is, however fast: a table that was not woken (its epoch is the same as before), or one that came back without what was
said at it.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from time import perf_counter
from typing import Final, TypeVar

from benchmarks import memory, processor
from benchmarks.keepalive import Caller
from benchmarks.processor import pids_by_role
from benchmarks.server import Server
from benchmarks.visitor import Gone, Visitor

ENTITIES: Final = ("session", "character", "provider")
LOOK_S: Final = 2.0
"""Seconds between two looks at who is live: each is work for the server."""

SETTLE_S: Final = 4.0
"""Seconds after the last table went to rest, or came: processes end or start in them that are not needed, or are."""

BEAT_S: Final = 20.0
STUCK_S: Final = 120.0
"""Seconds without any table going to rest after which they are not waited for any more."""

Item = TypeVar("Item")


@dataclass(slots=True)
class Table:
    """A table as its game master knows it. `epoch` is that of its last life known, `line` what was said there."""

    session: str
    token: str
    line: str = ""
    epoch: int = 0


@dataclass(slots=True)
class Times:
    """Seconds that each of many took, and what went wrong, by kind."""

    created: list[float] = field(default_factory=list)
    live: list[float] = field(default_factory=list)
    acked: list[float] = field(default_factory=list)
    whole_s: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)


class Watch:
    """Looks at a server's processes. Remembers which role each had: one in which nothing lives is on no list."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._roles: dict[int, str] = {}

    async def entities(self) -> int:
        """Return how many entities are not at rest."""
        rows = await asyncio.to_thread(self._server.actors)
        self._roles |= pids_by_role(rows)
        return sum(row["kind"] in ENTITIES for row in rows)

    async def memory(self) -> memory.Reading:
        """Return what the server holds now; hosts that are empty count among the spares."""
        rows = await asyncio.to_thread(self._server.actors)
        self._roles |= pids_by_role(rows)
        return await asyncio.to_thread(memory.read, self._server.pid, pids_by_role(rows))

    async def processor(self, seconds: float) -> dict[str, float]:
        """Return the shares of one core that each role uses, over some seconds in which nobody asks for anything."""
        before = processor.read(self._server.pid, self._roles)
        begun_s = perf_counter()
        await asyncio.sleep(seconds)
        spent = processor.read(self._server.pid, self._roles).since(before)
        return {role: used_s / (perf_counter() - begun_s) for role, used_s in spent.items()}


async def create(
    server: Server, count: int, at_once: int, times: Times, then: Callable[[Table, int], Awaitable[None]]
) -> list[Table]:
    """Create tables over HTTP, each followed by what is to happen at it. Raises NotAnswered, Gone, TimeoutError."""
    tables: list[Table] = []
    numbers = iter(range(count))
    begun_s = perf_counter()

    async def work() -> None:
        with closing(Caller(server.authority)) as caller:
            for number in numbers:
                asked_s = perf_counter()
                made = await caller.post("/v1/sessions", server.management.token, {"name": f"Table {number}"})
                times.created.append(perf_counter() - asked_s)
                table = Table(made["session"], made["gm_token"])
                await then(table, number)
                tables.append(table)

    await _together([work() for _ in range(at_once)])
    times.whole_s = perf_counter() - begun_s
    return tables


async def nothing(_table: Table, _number: int) -> None:
    """Leave a new table alone."""


async def play(server: Server, table: Table, number: int, characters_every: int, times: Times) -> None:
    """Play once: sit down, say something, roll dice, at some tables with a character, and go."""
    visitor = await Visitor.connect(server.authority)
    times.live.append(await visitor.join(table.token))
    table.line = f"Here we were, {number} of us."
    times.acked.append(await visitor.ask("say", "chat.say", {"text": table.line}))
    await visitor.ask("roll", "dice.roll", {"expr": "1d20+5"})
    if characters_every and number % characters_every == 0:
        await visitor.ask("hero", "character.create", {"sheet": {"name": f"Hero {number}"}})
    table.epoch = visitor.epoch
    visitor.leave()


async def until_all_rest(watch: Watch) -> None:
    """Wait until nothing is live, and what is not needed any more has ended. Raises Gone when that makes no headway."""
    left, since_s = await watch.entities(), perf_counter()
    while left:
        await asyncio.sleep(LOOK_S)
        now = await watch.entities()
        if now != left:
            left, since_s = now, perf_counter()
        elif perf_counter() - since_s > STUCK_S:
            raise Gone(f"{left} tables do not go to rest")
    await asyncio.sleep(SETTLE_S)


async def wake(server: Server, tables: Sequence[Table], pause_s: float, times: Times) -> None:
    """Come to one table after the other that rests, do one op, and go. `acked` counts from the join too."""
    begun_s = perf_counter()
    for number, table in enumerate(tables):
        visitor = await Visitor.connect(server.authority)
        live_s = await visitor.join(table.token)
        times.live.append(live_s)
        times.acked.append(live_s + await visitor.ask(f"again-{number}", "chat.say", {"text": "Here we are again."}))
        times.faults["tables that had not been at rest"] += visitor.epoch <= table.epoch
        times.faults["tables that lost what was said"] += table.line.encode() not in visitor.shown
        table.epoch = visitor.epoch
        visitor.leave()
        await asyncio.sleep(pause_s)
    times.whole_s = perf_counter() - begun_s
    times.faults = +times.faults


async def look_through(server: Server, tables: Sequence[Table]) -> tuple[list[float], list[float]]:
    """Ask for the list of all tables, and invite to some as the admin; returns the seconds that each took."""
    lists: list[float] = []
    invitations: list[float] = []
    token = server.management.token
    with closing(Caller(server.authority)) as caller:
        for table in tables:
            begun_s = perf_counter()
            await caller.get("/v1/sessions", token)
            lists.append(perf_counter() - begun_s)
            begun_s = perf_counter()
            await caller.post(f"/v1/sessions/{table.session}/invites", token, {"role": "player", "name": "Guest"})
            invitations.append(perf_counter() - begun_s)
    return lists, invitations


@asynccontextmanager
async def seated(server: Server, tables: Sequence[Table], at_once: int, times: Times) -> AsyncIterator[list[Visitor]]:
    """Seat one client at each table; they stay, and beat, until the end of the block."""
    visitors: list[Visitor] = []

    async def sit(table: Table) -> None:
        visitor = await Visitor.connect(server.authority)
        times.live.append(await visitor.join(table.token))
        visitors.append(visitor)

    begun_s = perf_counter()
    beating = asyncio.create_task(_beat(visitors))
    try:
        await each(tables, at_once, sit)
        times.whole_s = perf_counter() - begun_s
        yield visitors
    finally:
        beating.cancel()
        for visitor in visitors:
            visitor.leave()


async def busy(visitors: Sequence[Visitor], ops: int, at_once: int, first: int, times: Times) -> None:
    """Have as many ops done at every table, each after the answer to the one before it. `first` numbers the first."""

    async def talk(visitor: Visitor) -> None:
        for number in range(first, first + ops):
            kind, args = _OPS[number % len(_OPS)]
            times.acked.append(
                await visitor.ask(f"op-{number}", kind, {name: value.format(number) for name, value in args.items()})
            )

    begun_s = perf_counter()
    await each(visitors, at_once, talk)
    times.whole_s = perf_counter() - begun_s


_OPS: Final[list[tuple[str, dict[str, str]]]] = [
    *[("chat.say", {"text": "{}: I draw my sword and step through the door."})] * 9,
    ("dice.roll", {"expr": "1d20+5", "label": "{}"}),
]


async def each(items: Sequence[Item], at_once: int, do: Callable[[Item], Awaitable[None]]) -> None:
    """Do something with each item, with a bounded number at a time."""
    left = iter(items)

    async def work() -> None:
        for item in left:
            await do(item)

    await _together([work() for _ in range(at_once)])


def some(tables: Sequence[Table], count: int, seed: int) -> list[Table]:
    """Draw tables by lot."""
    return random.Random(seed).sample(tables, min(count, len(tables)))


async def _together(work: Sequence[Coroutine[None, None, None]]) -> None:
    """Do all; what the first of them raises ends the others."""
    tasks = [asyncio.create_task(each_of_them) for each_of_them in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


async def _beat(visitors: Sequence[Visitor]) -> None:
    while True:
        await asyncio.sleep(BEAT_S)
        for visitor in list(visitors):
            visitor.beat()
