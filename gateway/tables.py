"""What HTTP asks of tables: the same requests that connections make, each awaited."""

from __future__ import annotations

import asyncio
from typing import Any, Final, Protocol, cast

import msgpack

from gateway.auth import Grant
from gateway.hub import Hub
from gateway.ports import Directory
from gateway.router import Outcome, Request
from undying.protocol.data import Json, JsonObject
from undying.protocol.errors import Code, Failure, UndyingError, error
from undying.protocol.ids import Kind, Role, is_id, new_id, parse_role, stream_name
from undying.protocol.link import NO_POSITION, Acked, JoinItem, Opened, OpenItem, OpItem

PROBE: Final = "readyz"
"""The session that `/readyz` makes a round trip through; it is on no list."""

ADMIN: Final = "@admin"


class Overview(Protocol):
    """What the supervisors know."""

    async def status(self) -> list[JsonObject]:
        """Return the rows of `undying status`. Raises UndyingError UNAVAILABLE."""
        ...


class HubTables:
    """Implements `gateway.ports.Tables` on a hub."""

    def __init__(self, hub: Hub, directory: Directory, overview: Overview) -> None:
        self._hub = hub
        self._directory = directory
        self._overview = overview

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
        """Return a row for each session: its name, state, host and epoch if it is live, and the members online here."""
        names = await self._directory.sessions()
        actors = {str(row["id"]): row for row in await self._overview.status()}
        return [self._row(session, name, actors.get(f"session:{session}")) for session, name in names.items()]

    def _row(self, session: str, name: str, actor: JsonObject | None) -> JsonObject:
        return {
            "session": session,
            "name": name,
            "state": "resting" if actor is None else actor["state"],
            "online": self._hub.online(session),
            "host": None if actor is None else actor.get("host"),
            "epoch": None if actor is None else actor["epoch"],
        }

    async def snapshot(self, grant: Grant) -> JsonObject:
        """Return `{streams: {stream: {pos, state}}}`: all that the holder may see. Raises UndyingError."""
        joined = await self._join(grant)
        role = str(joined["role"])
        asked = [
            self._ask(OpenItem("open", self._hub.router.next_ref(), stream, grant.user, role, NO_POSITION))
            for stream in cast("list[str]", joined["streams"])
        ]
        opened = [cast(Opened, outcome) for outcome in await asyncio.gather(*asked)]
        streams: dict[str, Json] = {
            each.stream: {"pos": list(each.pos), "state": cast(Json, msgpack.unpackb(each.state))} for each in opened
        }
        return {"session": grant.session, "streams": streams}

    async def submit(self, grant: Grant, ops: list[JsonObject]) -> list[JsonObject]:
        """Do ops in their order. Raises UndyingError when the holder is no member; each op's own failure is in its ack."""
        joined = await self._join(grant)
        streams, role = cast("list[str]", joined["streams"]), str(joined["role"])
        return [await self._submit_one(grant, role, streams, op) for op in ops]

    async def _submit_one(self, grant: Grant, role: str, streams: list[str], op: JsonObject) -> JsonObject:
        op_id, stream, kind = str(op["id"]), str(op["s"]), str(op["k"])
        ack: JsonObject = {"t": "ack", "id": op_id, "ok": False, "s": stream}
        if stream not in streams or kind.startswith("@"):
            refused = Failure(Code.NOT_FOUND, "no such stream or op that you may see", {"path": "s"})
            return {**ack, "error": refused.to_wire()}
        args, at = op.get("d"), op.get("at")
        given = args if isinstance(args, dict) else {}
        item = OpItem(
            "op", self._hub.router.next_ref(), stream, grant.user, role, op_id, kind, given, at if type(at) is int else 0
        )
        try:
            acked = cast(Acked, await self._ask(item))
        except UndyingError as failed:
            return {**ack, "error": failed.failure.to_wire()}
        done: JsonObject = {**ack, "ok": True, "pos": list(acked.pos)}
        if acked.result is not None:
            done["d"] = acked.result
        if acked.dup:
            done["dup"] = True
        return done

    async def role_of(self, grant: Grant) -> Role:
        """Return the role that the holder has now. Raises UndyingError REMOVED or NOT_FOUND."""
        return parse_role(str((await self._join(grant))["role"]))

    async def status(self) -> list[JsonObject]:
        """Return the rows of `undying status`. Raises UndyingError."""
        return await self._overview.status()

    async def ready(self) -> None:
        """Make a round trip through supervisors, a session and the store. Raises UndyingError when it fails."""
        await self._overview.status()
        await self._create(PROBE, PROBE)

    def connections(self) -> int:
        """Return how many clients are connected to this gateway."""
        return self._hub.connections()

    async def _create(self, session: str, name: str) -> None:
        stream = stream_name(Kind.SESSION, session)
        item = OpItem(
            "op", self._hub.router.next_ref(), stream, ADMIN, Role.SYSTEM.value, "create", "session.create", {"name": name}
        )
        await self._ask(item, create=True)

    async def _join(self, grant: Grant) -> JsonObject:
        if not is_id(grant.session):
            raise error(Code.NOT_FOUND, "no such session")
        stream = stream_name(Kind.SESSION, grant.session)
        join_id = f"join:{new_id(self._hub.rng)}"
        item = JoinItem(
            "join", self._hub.router.next_ref(), stream, join_id, grant.user, grant.role.value, grant.name, grant.issued
        )
        acked = cast(Acked, await self._ask(item))
        return cast(JsonObject, acked.result)

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
