"""The play on a real server: clients take their seats, turns are taken one after the other, processes are killed meanwhile.

A turn begins when the turn before it is acknowledged, so the order that everybody must see is known. A kill falls while an op
is under way: the turn's own, or for a character a blow beside the play. After a turn that is refused, or not answered within
`OP_S`, the play goes on; after `FAILURES_MAX` of those it ends, and the verdict says how far it came.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any, Final, assert_never

from undying.cli.demo.play import Action, Blow, EndTurn, Play, Roll, Say, Turn
from undying.cli.demo.verdict import Verdict, judge
from undying.cli.killer import Killer
from undying.cli.own_server import OwnServer
from undying.client.connecting import connect
from undying.client.table import Table
from undying.client.websocket import dialer
from undying.loadtest.history import Ack, Notes, Tap, Witness
from undying.loadtest.recovery import Killed, Recovery, recovery
from undying.protocol.data import JsonObject
from undying.protocol.errors import UndyingError
from undying.protocol.position import NOWHERE

OP_S: Final = 30.0
FAILURES_MAX: Final = 3
CONVERGE_S: Final = 20.0
"""Seconds that all clients have, after the last turn, to have heard it."""

WARM: Final = 2
"""Spares that a server keeps by default; the play begins when they are there."""

BLOW_EVERY: Final = 40
"""Turns between two blows beside a play that has none of its own, so that its characters live."""

HIT_POINTS: Final = 60
ACKS_LOOKED_AT: Final = 50


class Stage:
    """One performance. `clock` is the event loop's; `tell` gets a line of progress; `pace_s` is slept between turns."""

    def __init__(
        self, play: Play, server: OwnServer, clock: Callable[[], float], tell: Callable[[str], None], pace_s: float
    ) -> None:
        self.play = play
        self.killer = Killer(server, clock)
        self.notes = [Notes(client) for client in range(len(play.voices))]
        self.tables: list[Table] = []
        self.characters: list[str] = []
        self.turn = 0
        self.kills: list[Killed] = []
        self.failures: list[str] = []
        self._server = server
        self._clock = clock
        self._tell = tell
        self._pace_s = pace_s
        self._left = asyncio.Event()
        self._beside: list[asyncio.Task[None]] = []
        self._other = 0

    async def perform(self) -> Verdict:
        """Play it all and judge it. Raises UndyingError when the server does not come as far as the first turn."""
        async with AsyncExitStack() as seats:
            witnesses = await self._seat(seats)
            self._tell(f"{len(self.tables)} clients at the table; waiting for {WARM} warm spares")
            targets = await self._prepare()
            self._tell(f"playing {len(self.play.turns):,} turns")
            began_s = self._clock()
            await self._play(targets)
            self._tell(f"played in {self._clock() - began_s:.1f} s, waits for spares included")
            await self._converge()
        for witness in witnesses:
            await witness.finish()
        kills = [self._with_break(kill) for kill in self.kills]
        return judge(self.notes, len(self.play.turns), self._other, kills)

    def recoveries(self) -> list[Recovery]:
        """Return what is known of the kills by now."""
        return [recovery(self._with_break(kill), self._acks_after(kill)) for kill in self.kills]

    def _acks_after(self, killed: Killed) -> list[Ack]:
        """Return each client's first acks after a kill, which are enough to measure it by, in the order in which they came."""
        found: list[Ack] = []
        for each in self.notes:
            first = bisect_right(each.acks, killed.at_s, key=lambda ack: ack.acked_s)
            found += each.acks[first : first + ACKS_LOOKED_AT]
        return sorted(found, key=lambda ack: ack.acked_s)

    # ── before ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _seat(self, seats: AsyncExitStack) -> list[Witness]:
        api = self._server.management
        session = str((await asyncio.to_thread(api.create_session, self.play.name))["session"])
        witnesses = []
        for voice, notes in zip(self.play.voices, self.notes, strict=True):
            made = await asyncio.to_thread(api.invite, session, voice.role, voice.name, None)
            tap = Tap(notes, dialer("msgpack"), self._clock, self._left)
            table = await seats.enter_async_context(
                connect(api.url, str(made["token"]), name="undying-demo", transport=tap.dial)
            )
            notes.user = table.user
            self.tables.append(table)
            witnesses.append(Witness(table, notes))
        return witnesses

    async def _prepare(self) -> Mapping[int, str]:
        """Make the characters and the order of the fight; returns what is killed at which turn."""
        leader = self.tables[0]
        for number in self.play.characters:
            name, owner = self.play.voices[number].name, self.tables[number].user
            sheet: JsonObject = {"name": name, "hp": {"current": HIT_POINTS, "max": HIT_POINTS, "temp": 0}}
            self.characters.append((await leader.create_character(sheet, owner)).id)
        if self.play.fight:
            entries = zip(self.characters, self.play.characters, strict=True)
            await leader.initiative.set(
                [
                    {"id": made, "name": self.play.voices[number].name, "value": 20 - number, "character": made}
                    for made, number in entries
                ]
            )
            await leader.combat.start()
        rows = await self.killer.settled(WARM)
        gateway = next(str(row["id"]) for row in rows if row["kind"] == "gateway")
        turns = len(self.play.turns)
        return {turns // 2: leader.stream, turns * 2 // 3: f"character:{self.characters[0]}", turns * 5 // 6: gateway}

    # ── the play ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _play(self, targets: Mapping[int, str]) -> None:
        for number, turn in enumerate(self.play.turns):
            self.turn = number
            if number in targets:
                await self._take_under_fire(turn, targets[number])
            else:
                await self._take(turn)
            if len(self.failures) >= FAILURES_MAX:
                break
            if not self.play.fight and number % BLOW_EVERY == 0:
                await self._blow_beside(number)
            if self._pace_s:
                await asyncio.sleep(self._pace_s)
        else:
            self.turn = len(self.play.turns)
        await asyncio.gather(*self._beside)

    async def _take_under_fire(self, turn: Turn, target: str) -> None:
        """Take a turn and kill its target while an op for it is under way."""
        pid = await self.killer.aim(target)
        self._left.clear()
        is_character = target.startswith("character:")
        under_way = self._start(self._blow_twice() if is_character else self._take(turn))
        async with asyncio.timeout(OP_S):
            await self._left.wait()
        killed = self.killer.kill(target, pid)
        self.kills.append(killed)
        self._tell(f"turn {self.turn:,}: kill -9 {target} (pid {pid})")
        if is_character:
            await self._take(turn)
        else:
            await under_way
        self._start(self._follow(killed))

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._beside.append(task)
        return task

    async def _follow(self, killed: Killed) -> None:
        """Find out when a kill was noticed, once the table has gone on."""
        if not killed.id.startswith("gateway:"):
            noticed_s = await self.killer.noticed(killed)
            self.kills[self.kills.index(killed)] = replace(killed, noticed_s=noticed_s)

    async def _take(self, turn: Turn) -> None:
        await self._try(self._act(self.tables[turn.voice], turn.action))

    async def _blow_twice(self) -> None:
        """Deal the blow that is under way when the character is killed, and the next one."""
        for _ in range(2):
            await self._blow_beside(self.turn)

    async def _blow_beside(self, number: int) -> None:
        self._other += 1
        delta = -3 if self._other % 2 else 3
        if not await self._try(self._act(self.tables[0], Blow(0, delta, f"beside turn {number} ({self._other})"))):
            self._other -= 1

    async def _try(self, act: Coroutine[Any, Any, object]) -> bool:
        try:
            async with asyncio.timeout(OP_S):
                await act
        except (UndyingError, TimeoutError) as problem:
            self.failures.append(f"turn {self.turn:,}: {problem or 'no answer'}")
            self._tell(self.failures[-1])
            return False
        return True

    async def _act(self, table: Table, action: Action) -> None:
        match action:
            case Say(text):
                await table.say(text)
            case Roll(expr, label):
                await table.roll(expr, label=label)
            case Blow(character, delta, reason):
                handle = table.character(self.characters[character])
                await (handle.damage(-delta, reason) if delta < 0 else handle.heal(delta, reason))
            case EndTurn():
                await table.initiative.next()
            case _:
                assert_never(action)

    # ── after ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _converge(self) -> None:
        """Wait until everybody heard all that was acknowledged; who did not in time is what the verdict will say."""
        session = self.tables[0].stream
        last = max((ack.position for each in self.notes for ack in each.acks if ack.fact.stream == session), default=NOWHERE)
        try:
            async with asyncio.timeout(CONVERGE_S):
                for table in self.tables:
                    await table.until(lambda table=table: table.positions.get(session, NOWHERE) >= last)  # type: ignore[misc]
        except (TimeoutError, UndyingError) as problem:
            self._tell(f"not everybody heard everything: {problem or 'time is up'}")

    def _with_break(self, killed: Killed) -> Killed:
        """Fill in when a gateway's death was noticed: when the first connection broke."""
        if not killed.id.startswith("gateway:"):
            return killed
        broken = [at_s for each in self.notes for at_s in each.broken_s if at_s > killed.at_s]
        return replace(killed, noticed_s=min(broken, default=None))
