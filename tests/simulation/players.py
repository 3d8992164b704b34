"""Simulated people at a table: each plays random ops through the real SDK and writes down what happened to them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Any

import undying
from tests.simulation.world import World
from undying import OpRefused, OutcomeUnknown, Table, TableEvent
from undying.client.events import LAGGED, SNAPSHOT
from undying.client.subscription import Subscription
from undying.protocol.codec import Encoding
from undying.protocol.ids import Role

BREATH = 4
UNKNOWN = "unknown"


@dataclass(slots=True)
class Done:
    """One op as its player knows it: `marker` is unique and in the op.

    `outcome` is None while there is none, UNKNOWN when nobody could tell.
    """

    user: str
    kind: str
    marker: str
    outcome: str | None = None
    delta: int = 0
    audience: tuple[str, ...] | None = None
    """Who may see the marker; None: everybody."""
    breath: int | None = None
    """Lines with the same number were said one after the other, without waiting for an answer."""


@dataclass(slots=True)
class History:
    """What one player did and heard."""

    user: str
    role: Role
    ops: list[Done] = field(default_factory=list)
    heard: list[TableEvent] = field(default_factory=list)
    seen_states: list[str] = field(default_factory=list)
    final: dict[str, Any] = field(default_factory=dict)


class Player:
    """One person. Plays until told to stop, at most `together` ops at a time."""

    def __init__(self, world: World, session: str, user: str, role: Role, encoding: Encoding) -> None:
        self._rng = random.Random(world.rng.random())
        self._others: list[str] = []
        self.history = History(user, role)
        self.character: str | None = None
        token = world.invite(session, user, role)
        rng = random.Random(world.rng.random())
        dial = world.network.dialer(encoding)
        self.table: Table = undying.connect("ws://simulated", token, encoding=encoding, transport=dial, rng=rng)

    def meet(self, others: list[str]) -> None:
        """Learn who else is at the table."""
        self._others = [user for user in others if user != self.history.user]

    async def listen(self) -> None:
        """Write down everything that is heard."""
        await _listen(self.table.events(), self.table, self.history)

    async def play(self, ops: int, *, pause_s: float) -> None:
        """Do so many ops, some of them at the same time, and now and then some lines in one breath."""
        bursts = (self._breath(ops + first, pause_s) for first in range(0, 3 * BREATH, BREATH))
        await asyncio.gather(*(self._one(number, pause_s) for number in range(ops)), *bursts)

    async def _breath(self, first: int, pause_s: float) -> None:
        await asyncio.sleep(self._rng.uniform(0, pause_s))
        said = [
            Done(self.history.user, "say", f"m-{self.history.user}-{first + place}-", breath=first) for place in range(BREATH)
        ]
        self.history.ops.extend(said)
        await asyncio.gather(*(self._settle(done) for done in said))

    async def _one(self, number: int, pause_s: float) -> None:
        await asyncio.sleep(self._rng.uniform(0, pause_s))
        user = self.history.user
        marker = f"m-{user}-{number}-"
        kind = self._rng.choice(["say", "say", "whisper", "roll", "gm_note", "note", "hp", "token", "create", "ask"])
        done = Done(user, kind, marker)
        self.history.ops.append(done)
        await self._settle(done)

    async def _settle(self, done: Done) -> None:
        await _settle(done, self._do(done))

    async def _do(self, done: Done) -> None:
        table, rng, marker = self.table, self._rng, done.marker
        match done.kind:
            case "say":
                await table.say(f"{marker} a word")
            case "whisper":
                to = rng.choice(self._others)
                done.audience = (done.user, to)
                await table.say(f"{marker} a secret", to=[to])
            case "roll":
                await table.roll("1d20+2", label=marker)
            case "gm_note":
                done.audience = (done.user, "@gm")
                await table.op(table.stream, "note.put", id=marker, text=f"{marker} hidden", visibility="gm")
            case "note":
                await table.op(table.stream, "note.put", id=marker, text=f"{marker} open", visibility="public")
            case "hp" if self.character is not None:
                done.delta = rng.choice([-3, -2, -1, 1, 2])
                stream = f"character:{self.character}"
                await table.op(stream, "hp.change", delta=done.delta, reason=marker)
            case "token":
                await table.op(table.stream, "token.put", id=marker, x=rng.randrange(9), y=1)
            case "create":
                await table.create_character({"name": marker})
            case "ask":
                await table.op(table.stream, "ai.ask", prompt=f"{marker}?")
            case _:
                await table.say(f"{marker} nothing to do")


class Visitor:
    """One who has a table of their own, comes now and then, says something and leaves; in between it goes to rest."""

    def __init__(self, world: World, session: str) -> None:
        self._world = world
        self._rng = random.Random(world.rng.random())
        self._token = world.invite(session, "visitor", Role.GM)
        self.history = History("visitor", Role.GM)

    async def visit(self, times: int, *, rest_s: float) -> None:
        """Come so many times, each after long enough for the table to have gone to rest."""
        for number in range(times):
            rng, dial = random.Random(self._rng.random()), self._world.network.dialer("msgpack")
            async with undying.connect("ws://simulated", self._token, transport=dial, rng=rng) as table:
                # What happened before this visit is in the states that it begins with, of which no event tells.
                self.history.heard += [
                    TableEvent(stream, SNAPSHOT, {}, position=position) for stream, position in table.positions.items()
                ]
                listening = asyncio.create_task(_listen(table.events(), table, self.history))
                done = Done("visitor", "say", f"m-visitor-{number}-")
                self.history.ops.append(done)
                await _settle(done, table.say(f"{done.marker} once more"))
            await listening
            await asyncio.sleep(rest_s * self._rng.uniform(0.8, 1.8))


async def _listen(events: Subscription, table: Table, history: History) -> None:
    async for event in events:
        assert event.kind != LAGGED, "the simulation's queues are large enough"
        history.heard.append(event)
        if event.kind == "table.snapshot":
            history.seen_states.append(str(table.state))


async def _settle(done: Done, work: Awaitable[object]) -> None:
    try:
        await work
        done.outcome = "ok"
    except OpRefused as refused:
        done.outcome = refused.failure.code.value
    except OutcomeUnknown:
        done.outcome = UNKNOWN
