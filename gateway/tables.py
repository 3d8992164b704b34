"""What HTTP asks of tables: the same requests that connections make, each awaited."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final, cast

import msgpack

from gateway.auth import Grant
from gateway.hub import Hub
from gateway.ports import Directory, Overview
from gateway.router import Outcome, Request
from undying.protocol.data import Json, JsonObject
from undying.protocol.errors import Code, Failure, UndyingError, error
from undying.protocol.ids import Kind, Role, is_id, new_id, parse_role, stream_name
from undying.protocol.link import NO_POSITION, Acked, JoinItem, Opened, OpenItem, OpItem

PROBE: Final = "readyz"
"""The session that `/readyz` makes a round trip through; it is on no list."""

READY_S: Final = 10.0
"""How long a look at readiness may take."""

READY_SHARED_S: Final = 1.0
"""How long its result serves whoever asks: anybody may, and each look is work for the supervisors and the store."""

ADMIN: Final = "@admin"
PROBER: Final = "@readyz"
"""Who writes to the probe: a user of its own, whose many answers make the session forget none of the admin's."""


@dataclass(frozen=True, slots=True)
class Seat:
    """What a session says of one who joins: their role there, the streams that they may see, whether the table is paused."""

    role: Role
    streams: list[str]
    paused: bool


class HubTables:
    """Implements `gateway.ports.Tables` on a hub."""

    def __init__(self, hub: Hub, directory: Directory, overview: Overview) -> None:
        self._hub = hub
        self._directory = directory
        self._overview = overview
        self._look: asyncio.Task[Failure | None] | None = None
        self._looked_s = 0.0

    async def create_session(self, name: str) -> str:
        """Create a session and return its id. It is listed first, so that none exists unlisted."""
        session = new_id(self._hub.rng)
        await self._directory.add(session, name)
        await self._create(session, name)
        return session

    async def sessions(self) -> dict[str, str]:
        """Return the names of all sessions by id. Raises UndyingError DATABASE_UNAVAILABLE."""
        return await self._directory.sessions()

    async def list_sessions(self) -> list[JsonObject]:
        """Return a row for each session: its name, state, host and epoch if it is live, and how many members are online.

        Members at other gateways are told of only while somebody of the table is at this one; else, if there are other
        gateways, how many there are is None: not known.
        """
        names = await self._directory.sessions()
        actors = {str(row["id"]): row for row in await self._overview.status()}
        alone = sum(row.get("kind") == "gateway" for row in actors.values()) <= 1
        return [self._row(session, name, actors.get(f"session:{session}"), alone) for session, name in names.items()]

    def _row(self, session: str, name: str, actor: JsonObject | None, alone: bool) -> JsonObject:
        return {
            "session": session,
            "name": name,
            "state": "resting" if actor is None else actor["state"],
            "online": self._hub.online(session) if alone or self._hub.followed(session) else None,
            "host": None if actor is None else actor.get("host"),
            "epoch": None if actor is None else actor["epoch"],
        }

    async def snapshot(self, grant: Grant) -> JsonObject:
        """Return `{streams: {stream: {pos, state}}}`: all that the holder may see. Raises UndyingError."""
        seat = await self._join(grant)
        asked = [
            self._ask(OpenItem("open", self._hub.router.next_ref(), stream, grant.user, seat.role.value, NO_POSITION))
            for stream in seat.streams
        ]
        opened = [cast(Opened, outcome) for outcome in await asyncio.gather(*asked)]
        streams: dict[str, Json] = {
            each.stream: {"pos": list(each.pos), "state": cast(Json, msgpack.unpackb(each.state))} for each in opened
        }
        return {"session": grant.session, "streams": streams}

    async def submit(self, grant: Grant, ops: list[JsonObject]) -> list[JsonObject]:
        """Do ops in their order. Raises UndyingError when the holder is no member; each op's own failure is in its ack.

        A session knows its members' roles, a character takes the word of who passes the op on. A batch may take seconds, so
        before each op on a character the session is asked anew.
        """
        seat, fresh = await self._join(grant), True
        acks: list[JsonObject] = []
        for op in ops:
            try:
                if not fresh and op["s"] != stream_name(Kind.SESSION, grant.session):
                    seat = await self._join(grant)
                acks.append(await self._submit_one(grant, seat, op))
            except UndyingError as failed:
                acks.append({"t": "ack", "id": op["id"], "ok": False, "s": op["s"], "error": failed.failure.to_wire()})
            fresh = False
        return acks

    async def _submit_one(self, grant: Grant, seat: Seat, op: JsonObject) -> JsonObject:
        op_id, stream, kind = str(op["id"]), str(op["s"]), str(op["k"])
        if stream not in seat.streams or kind.startswith("@"):
            raise error(Code.NOT_FOUND, "no such stream or op that you may see", path="s")
        if seat.paused and seat.role is not Role.GM and not stream.startswith("session:"):
            raise error(Code.PAUSED, "The game master paused the session.")
        args, at = op.get("d"), op.get("at")
        given = args if isinstance(args, dict) else {}
        ref, when = self._hub.router.next_ref(), at if type(at) is int else 0
        item = OpItem("op", ref, stream, grant.user, seat.role.value, op_id, kind, given, when)
        acked = cast(Acked, await self._ask(item))
        done: JsonObject = {"t": "ack", "id": op_id, "ok": True, "s": stream, "pos": list(acked.pos)}
        if acked.result is not None:
            done["d"] = acked.result
        if acked.dup:
            done["dup"] = True
        return done

    async def role_of(self, grant: Grant) -> Role:
        """Return the role that the holder has now. Raises UndyingError REMOVED or NOT_FOUND."""
        return (await self._join(grant)).role

    async def ready(self) -> None:
        """Make a round trip through supervisors, a session and the store, or share one just made. Raises UndyingError."""
        if self._look is None or (self._look.done() and self._hub.now_s() - self._looked_s >= READY_SHARED_S):
            self._look = asyncio.create_task(self._look_round())
        # Who asks may go away; the look is for the others too.
        failure = await asyncio.shield(self._look)
        if failure is not None:
            raise UndyingError(failure)

    async def _look_round(self) -> Failure | None:
        try:
            async with asyncio.timeout(READY_S):
                await self._overview.status()
                await self._create(PROBE, PROBE)
                await self._write(PROBE)
        except UndyingError as failed:
            return failed.failure
        except TimeoutError:
            return Failure(Code.UNAVAILABLE, f"no round trip through a session within {READY_S:.0f} s")
        finally:
            self._looked_s = self._hub.now_s()
        return None

    def connections(self) -> int:
        """Return how many clients are connected to this gateway."""
        return self._hub.connections()

    async def _create(self, session: str, name: str) -> None:
        stream = stream_name(Kind.SESSION, session)
        item = OpItem(
            "op", self._hub.router.next_ref(), stream, ADMIN, Role.SYSTEM.value, "create", "session.create", {"name": name}
        )
        await self._ask(item, create=True)

    async def _write(self, session: str) -> None:
        """Make an event in a session's journal. An op that changes nothing would be answered without the store."""
        op_id, ref = new_id(self._hub.rng), self._hub.router.next_ref()
        stream, role = stream_name(Kind.SESSION, session), Role.SYSTEM.value
        await self._ask(OpItem("op", ref, stream, PROBER, role, op_id, "session.rename", {"name": op_id}), create=True)

    async def _join(self, grant: Grant) -> Seat:
        if not is_id(grant.session):
            raise error(Code.NOT_FOUND, "no such session")
        stream = stream_name(Kind.SESSION, grant.session)
        join_id = f"join:{new_id(self._hub.rng)}"
        item = JoinItem(
            "join", self._hub.router.next_ref(), stream, join_id, grant.user, grant.role.value, grant.name, grant.issued
        )
        acked = cast(Acked, await self._ask(item))
        said = cast(JsonObject, acked.result)
        return Seat(parse_role(str(said["role"])), cast("list[str]", said["streams"]), said.get("paused") is True)

    async def _ask(self, item: Request, *, create: bool = False) -> Acked | Opened:
        """Ask an entity. Raises UndyingError when it refused or did not answer."""
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def answered(outcome: Outcome) -> None:
            if not future.done():
                future.set_result(outcome)

        self._hub.router.request(item, answered, create=create)
        outcome: Any = await future
        if isinstance(outcome, Failure):
            raise UndyingError(outcome)
        if isinstance(outcome, Acked) and outcome.error is not None:
            raise UndyingError(Failure.from_wire(outcome.error))
        return cast("Acked | Opened", outcome)
