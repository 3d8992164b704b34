"""What HTTP asks of tables, over the same requests that connections make."""

from __future__ import annotations

import asyncio
from typing import Any

import msgpack
import pytest

from gateway.auth import Grant
from gateway.tables import ADMIN, PROBE, HubTables
from tests.unit.gateway.scripted_host import SESSION, SPARE, Gateway, make_gateway
from tests.unit.gateway.test_connection import nothing_asked
from undying.protocol.data import JsonObject
from undying.protocol.errors import Code, Failure, UndyingError, error
from undying.protocol.ids import Role
from undying.protocol.link import Acked, JoinItem, OpItem

ADA = Grant("s1", "ada", "Ada", Role.PLAYER, 1, "join", "")


class NotedDirectory:
    """A list of tables."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}

    async def add(self, session: str, name: str) -> None:
        self.names[session] = name

    async def sessions(self) -> dict[str, str]:
        return dict(self.names)


class KnownOverview:
    """Supervisors that know `rows`, or nothing at all."""

    def __init__(self, rows: list[JsonObject] | None) -> None:
        self.rows = rows

    async def status(self) -> list[JsonObject]:
        if self.rows is None:
            raise error(Code.UNAVAILABLE, "no supervisor")
        return self.rows


class Desk:
    """Tables over a scripted host."""

    def __init__(self, rows: list[JsonObject] | None = None) -> None:
        self.gateway: Gateway = make_gateway()
        self.host = self.gateway.host
        self.directory = NotedDirectory()
        self.tables = HubTables(self.gateway.hub, self.directory, KnownOverview(rows))

    async def ask(self, call: Any) -> asyncio.Task[Any]:
        """Begin a call and let it reach the host."""
        task: asyncio.Task[Any] = asyncio.ensure_future(call)
        await self.host.tell()
        return task


async def refused(call: Any) -> Code:
    with pytest.raises(UndyingError) as caught:
        await call
    return caught.value.failure.code


async def test_a_session_is_listed_before_it_is_created_in_the_admin_s_name() -> None:
    desk = Desk()
    task = await desk.ask(desk.tables.create_session("The Inn"))
    (session,) = desk.directory.names
    item = await desk.host.accept({})
    assert (item.stream, item.user, item.kind, item.args) == (
        f"session:{session}",
        ADMIN,
        "session.create",
        {"name": "The Inn"},
    )
    assert await task == session
    assert await desk.tables.sessions() == {session: "The Inn"}


async def test_a_snapshot_holds_all_streams_that_the_holder_may_see() -> None:
    desk = Desk()
    task = await desk.ask(desk.tables.snapshot(ADA))
    await desk.host.let_in(Role.GM, [SESSION, SPARE])
    await desk.host.show((1, 5))
    await desk.host.show((2, 7))
    shown = {"state": {"for": "gm"}}
    assert await task == {"session": "s1", "streams": {SESSION: {"pos": [1, 5]} | shown, SPARE: {"pos": [2, 7]} | shown}}


async def test_ops_are_done_one_after_the_other_and_each_has_its_own_answer() -> None:
    desk = Desk()
    asked = [{"id": op_id, "s": SESSION, "k": "chat.say", "d": {"text": op_id}} for op_id in "ab"]
    task = await desk.ask(desk.tables.submit(ADA, asked))  # type: ignore[arg-type]
    await desk.host.let_in(Role.PLAYER)
    first: OpItem = await desk.host.asked_for(OpItem)
    assert desk.host.asked.empty()
    no = Failure(Code.PAUSED, "later")
    await desk.host.tell(Acked("ack", first.ref, (-1, -1), None, no.to_wire(), False))
    second = await desk.host.accept({"n": 1})
    assert (first.id, second.id, second.role) == ("a", "b", "player")
    one, two = await task
    assert (one["ok"], one["error"]["code"]) == (False, "PAUSED")
    assert two == {"t": "ack", "id": "b", "ok": True, "s": SESSION, "pos": [1, 1], "d": {"n": 1}}


async def test_an_op_on_a_stream_that_the_holder_may_not_see_or_for_the_server_only_does_not_reach_it() -> None:
    desk = Desk()
    asked = [{"id": "a", "s": SPARE, "k": "hp.set"}, {"id": "b", "s": SESSION, "k": "@replied"}]
    task = await desk.ask(desk.tables.submit(ADA, asked))  # type: ignore[arg-type]
    await desk.host.let_in(Role.PLAYER)
    assert [ack["error"]["code"] for ack in await task] == ["NOT_FOUND", "NOT_FOUND"]
    assert await nothing_asked(desk.gateway)


async def test_who_is_no_member_is_told_so() -> None:
    desk = Desk()
    task = await desk.ask(desk.tables.role_of(ADA))
    join: JoinItem = await desk.host.asked_for(JoinItem)
    await desk.host.tell(Acked("ack", join.ref, (-1, -1), None, Failure(Code.REMOVED, "gone").to_wire(), False))
    assert await refused(task) is Code.REMOVED


async def test_the_role_is_the_one_that_the_table_gave() -> None:
    desk = Desk()
    task = await desk.ask(desk.tables.role_of(ADA))
    await desk.host.let_in(Role.GM)
    assert await task is Role.GM


async def test_the_list_shows_tables_that_rest_and_tables_that_live() -> None:
    rows: list[JsonObject] = [{"id": "session:live", "state": "live", "host": "host:1", "epoch": 3}]
    desk = Desk(rows)
    desk.directory.names = {"live": "One", "rests": "Two"}
    one, two = await desk.tables.list_sessions()
    assert one == {"session": "live", "name": "One", "state": "live", "online": 0, "host": "host:1", "epoch": 3}
    assert (two["state"], two["host"], two["epoch"]) == ("resting", None, None)


async def test_ready_means_that_supervisors_a_session_and_the_store_answered() -> None:
    assert await refused(Desk(None).tables.ready()) is Code.UNAVAILABLE
    desk = Desk([])
    task = await desk.ask(desk.tables.ready())
    assert not task.done()
    item = await desk.host.accept({})
    await task
    assert item.stream == f"session:{PROBE}"
    assert msgpack.packb(desk.directory.names) == msgpack.packb({})
