"""One scene: a table, a crowd at it, some faults of one cell, and what came of it.

Each fault waits until the server has settled from the one before: everything live, spares warm. Then it falls; how long until
the next answer, and how long until the server is whole again, is measured before the next one. A scene in which the server does
not recover ends there, and its outcome says why; what its clients saw up to then is judged all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from undying.cli.chaos.faults import Faults
from undying.cli.chaos.matrix import DECIDE, ENTITIES, GATEWAY, LOAD, ROOT, STOP, STORE, Cell, Felt, Outcome
from undying.cli.chaos.plan import Scene
from undying.cli.killer import Killer
from undying.cli.own_server import OwnServer
from undying.loadtest.crowd import ORACLE, Crowd, Turn, seated
from undying.loadtest.verdict import EXAMPLES_MAX, check
from undying.protocol.errors import Code, UndyingError, error
from undying.protocol.ids import Role

PEOPLE: Final = ("Ada", "Bea", "Cid")
"""Who plays besides the game master."""

PAUSE_S: Final = 0.1
"""Longest pause between two ops of a lane: clients, server and what is being restarted share one machine."""

STEADY_S: Final = 3.5
"""Seconds at least between two faults: what ends sooner after its start than 3 s (`ChildSpec.steady_s`) has to wait for its
restart, since it would end again and again."""

WARM: Final = 2
"""Spares that a server keeps by default."""

TURNS_BETWEEN: Final = 20
"""Turns of the entity that feels the fault that the lanes play before it falls."""

RECOVER_S: Final = 90.0
"""Seconds within which something has to be acknowledged again."""


class Stage:
    """Performs one scene. `tell` gets a line of progress."""

    def __init__(self, scene: Scene, server: OwnServer, tell: Callable[[str], None]) -> None:
        self._cell = scene.cell
        self._times = scene.faults
        self._server = server
        self._tell = tell
        self._clock = asyncio.get_running_loop().time
        self._killer = Killer(server, self._clock)
        self._felt: list[Felt] = []
        self._whole_s = 0.0

    async def perform(self) -> Outcome:
        """Perform it. Raises UndyingError when the table can't be made, before any fault."""
        api = self._server.management
        session = str((await asyncio.to_thread(api.create_session, self._cell.id))["session"])
        roles = {"Game master": Role.GM, **dict.fromkeys(PEOPLE, Role.PLAYER)}
        tokens = {
            name: str((await asyncio.to_thread(api.invite, session, role, name, None))["token"]) for name, role in roles.items()
        }
        async with seated(api.url, tokens, PAUSE_S) as crowd:
            broken, played_s = await self._play(crowd)
            sockets_closed = crowd.sockets_closed
        found = check(crowd.notes)
        return Outcome(
            felt=tuple(self._felt),
            acked=found.acked,
            lost=len(found.lost),
            repeated=len(found.repeated),
            out_of_order=len(found.out_of_order),
            refused=len(crowd.refused),
            sockets_closed=sockets_closed,
            played_s=played_s,
            broken=broken,
            examples=(*found.examples, *crowd.refused[:EXAMPLES_MAX]),
        )

    async def _play(self, crowd: Crowd) -> tuple[str, float]:
        """Let all faults fall; returns what broke for good, and how long was played."""
        faults = Faults(self._server, crowd)
        broken, began_s = "", self._clock()
        try:
            await self._killer.settled(WARM)
            began_s = self._clock()
            if self._cell.load == LOAD:
                crowd.play()
            for number in range(self._times):
                await self._break(crowd, faults)
                self._tell(f"{self._cell.id}: {_said(self._felt[-1])}{'' if self._times == 1 else f' ({number + 1})'}")
        except UndyingError as problem:
            broken = f"{self._cell.id}: {problem.failure.message}"
        await crowd.rest()
        played_s = self._clock() - began_s if self._cell.load == LOAD else 0.0
        if not await crowd.converge() and not broken:
            broken = f"{self._cell.id}: not everybody came to hear everything"
        return broken, played_s

    async def _break(self, crowd: Crowd, faults: Faults) -> None:
        """Let one fault fall and measure it. Raises UndyingError when the server does not recover."""
        cell, stream = self._cell, _stream(self._cell.feels, crowd)
        actor = _actor(cell, crowd)
        if cell.load == LOAD:
            warm = await crowd.played(stream, TURNS_BETWEEN, RECOVER_S)
        else:
            warm = await crowd.one(stream) is not None
        if not warm:
            raise error(Code.UNAVAILABLE, "nothing was acknowledged, and that before the fault fell")
        await asyncio.sleep(max(0.0, self._whole_s + STEADY_S - self._clock()))
        pid = await self._aim(actor)
        struck = await faults.strike(cell, stream, pid)
        turn = struck.turn or await self._next(crowd, stream, struck.at_s)
        if turn is None:
            self._felt.append(Felt(None, None))
            raise error(Code.UNAVAILABLE, f"nothing was acknowledged any more within {RECOVER_S:g} s")
        next_ack_ms = _ms(turn.done_s - struck.at_s)
        self._felt.append(Felt(next_ack_ms, None))
        if _waits_long(cell):
            await faults.settle(cell)
        whole_s = self._whole_s = await self._whole(actor, pid)
        self._felt[-1] = Felt(next_ack_ms, _ms(whole_s - struck.at_s))
        await faults.settle(cell)

    async def _next(self, crowd: Crowd, stream: str, after_s: float) -> Turn | None:
        if self._cell.load == LOAD:
            return await crowd.next_turn(stream, after_s, RECOVER_S)
        return await crowd.one(stream)

    async def _aim(self, actor: str) -> int:
        await self._killer.settled(WARM)
        if actor != STORE:
            return await self._killer.aim(actor)
        pid = self._server.store_pid()
        if pid is None:
            raise error(Code.UNAVAILABLE, "the store has no process")
        return pid

    async def _whole(self, actor: str, pid: int) -> float:
        """Wait until everything is live again; returns when that was."""
        stays = (self._cell.fault == DECIDE and self._cell.target in ENTITIES) or _waits_long(self._cell)
        if actor == STORE:
            await self._killer.settled(WARM)
        else:
            await self._killer.settled(WARM, actor, 0 if stays else pid)
        return self._clock()


def _stream(kind: str, crowd: Crowd) -> str:
    return {"session": crowd.session, "character": crowd.character, "provider": ORACLE}[kind]


def _actor(cell: Cell, crowd: Crowd) -> str:
    if cell.target in ENTITIES:
        return _stream(cell.target, crowd)
    return "gateway:1" if cell.target == GATEWAY else cell.target


def _waits_long(cell: Cell) -> bool:
    """Tell whether nobody replaces what the cell stops before it goes on: the root is given longer."""
    return cell.fault == STOP and cell.target == ROOT


def _said(felt: Felt) -> str:
    return f"next ack {felt.next_ack_ms:,.1f} ms, whole after {(felt.whole_ms or 0.0) / 1000:,.1f} s"


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)
