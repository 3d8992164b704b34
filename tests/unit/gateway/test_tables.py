"""What HTTP asks of tables, over the same requests that connections make."""

from __future__ import annotations

import asyncio
from typing import Any

import msgpack
import pytest

from gateway.auth import Grant
from gateway.tables import ADMIN, PROBE, READY_S, READY_SHARED_S, HubTables
from tests.in_virtual_time import virtual
from tests.unit.gateway.scripted_host import SESSION, SPARE, Gateway, make_gateway
from tests.unit.gateway.test_connection import nothing_asked
from undying.protocol.data import JsonObject
from undying.protocol.errors import Code, Failure, UndyingError, error
from undying.protocol.ids import Role
from undying.protocol.link import Acked, JoinItem, OpItem, PresenceNow

ADA = Grant("s1", "ada", "Ada", Role.PLAYER, 1, "join", "")


class NotedDirectory:
    """A list of tables."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}

    async def add(self, session: str, name: str) -> None:
        self.names[session] = name

    async def sessions(self) -> dict[str, str]:
        return dict(self.names)

    async def checkpoints(self, stream: str) -> JsonObject:
        return {"id": stream, "pos": [1, 0], "checkpoints": []}


class KnownOverview:
    """Supervisors that know `rows`, or nothing at all."""

    def __init__(self, rows: list[JsonObject] | None) -> None:
        self.rows = rows

    async def status(self) -> list[JsonObject]:
        if self.rows is None:
            raise error(Code.UNAVAILABLE, "no supervisor")
        return self.rows

    async def history(self, stream: str) -> list[JsonObject]:
        raise error(Code.NOT_FOUND, "not here", stream=stream)

    async def endings(self, limit: int) -> JsonObject:
        raise error(Code.UNAVAILABLE, "no tracker")

    async def readmit(self, stream: str) -> None:
        raise error(Code.NOT_FOUND, "not here", stream=stream)

    async def roll_back(self, stream: str, to: list[int]) -> JsonObject:
        raise error(Code.NOT_FOUND, "not here", stream=stream)

    async def drain(self, node: str) -> JsonObject:
        raise error(Code.NOT_FOUND, "not here", node=node)

    async def undrain(self, node: str) -> None:
        raise error(Code.NOT_FOUND, "not here", node=node)

    async def restart(self) -> None:
        raise error(Code.UNAVAILABLE, "no root")


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


async def test_members_online_at_other_gateways_are_not_taken_for_none() -> None:
    rows: list[JsonObject] = [{"id": f"gateway:{number}", "kind": "gateway", "state": "live"} for number in (1, 2)]
    desk = Desk(rows)
    desk.directory.names = {"s1": "One", "s2": "Two"}
    await desk.gateway.seat()
    await desk.host.tell(PresenceNow("present", SESSION, [(user, user, "player", "online") for user in ("ada", "bob")]))
    assert [row["online"] for row in await desk.tables.list_sessions()] == [2, None]


def probes(desk: Desk) -> list[OpItem]:
    """Return what the probe was asked since the last look."""
    items = [desk.host.asked.get_nowait() for _ in range(desk.host.asked.qsize())]
    return [item for item in items if isinstance(item, OpItem)]


async def look(desk: Desk) -> OpItem:
    """Let a look at readiness succeed; returns what it wrote."""
    await desk.host.accept({})
    return await desk.host.accept({})


async def test_ready_means_that_supervisors_answered_and_a_session_wrote_an_event() -> None:
    assert await refused(Desk(None).tables.ready()) is Code.UNAVAILABLE
    desk = Desk([])
    task = await desk.ask(desk.tables.ready())
    created = await desk.host.accept({})
    assert not task.done()
    written = await desk.host.accept({})
    await task
    assert created.stream == written.stream == f"session:{PROBE}"
    assert msgpack.packb(desk.directory.names) == msgpack.packb({})


@virtual
async def test_each_look_at_readiness_is_a_write_that_no_memory_of_the_one_before_answers() -> None:
    desk = Desk([])
    written = []
    for _ in range(2):
        task = await desk.ask(desk.tables.ready())
        written.append(await look(desk))
        await task
        await asyncio.sleep(READY_SHARED_S)
    one, two = written
    assert (one.kind, two.kind) == ("session.rename", "session.rename")
    assert one.id != two.id
    assert one.args != two.args
    assert one.user != ADMIN


@virtual
async def test_whoever_asks_for_readiness_meanwhile_or_within_a_second_shares_one_look() -> None:
    desk = Desk([])
    crowd = [await desk.ask(desk.tables.ready()) for _ in range(5)]
    crowd.pop(0).cancel()  # the one whose look it was may go away
    await look(desk)
    await asyncio.gather(*crowd)
    await desk.tables.ready()
    assert probes(desk) == []
    await asyncio.sleep(READY_SHARED_S)
    later = await desk.ask(desk.tables.ready())
    await look(desk)
    await later


@virtual
async def test_a_session_that_can_not_write_is_not_ready_and_that_is_shared_too() -> None:
    desk = Desk([])
    task = await desk.ask(desk.tables.ready())
    await desk.host.accept({})
    assert await refused(task) is Code.UNAVAILABLE
    assert asyncio.get_running_loop().time() == pytest.approx(READY_S, abs=0.1)
    probes(desk)
    assert await refused(desk.tables.ready()) is Code.UNAVAILABLE
    assert probes(desk) == []


def hit(op_id: str) -> JsonObject:
    return {"id": op_id, "s": SPARE, "k": "hp.change", "d": {"delta": -1}}


async def test_a_batch_asks_for_the_holders_role_before_each_op_on_a_character() -> None:
    desk = Desk()
    task = await desk.ask(desk.tables.submit(ADA, [hit("a"), hit("b"), {"id": "c", "s": SESSION, "k": "chat.say"}]))
    await desk.host.let_in(Role.GM, [SESSION, SPARE])
    assert (await desk.host.accept({})).role == "gm"
    await desk.host.let_in(Role.PLAYER, [SESSION, SPARE])  # demoted meanwhile
    assert (await desk.host.accept({})).role == "player"
    assert (await desk.host.accept({})).id == "c"  # the session knows for itself
    assert [ack["ok"] for ack in await task] == [True, True, True]


async def test_who_is_removed_while_a_batch_is_done_gets_no_more_of_it_done_and_is_told_what_was() -> None:
    desk = Desk()
    task = await desk.ask(desk.tables.submit(ADA, [hit("a"), hit("b")]))
    await desk.host.let_in(Role.PLAYER, [SESSION, SPARE])
    await desk.host.accept({})
    join: JoinItem = await desk.host.asked_for(JoinItem)
    await desk.host.tell(Acked("ack", join.ref, (-1, -1), None, Failure(Code.REMOVED, "gone").to_wire(), False))
    one, two = await task
    assert (one["ok"], two["ok"], two["id"], two["error"]["code"]) == (True, False, "b", "REMOVED")
    assert await nothing_asked(desk.gateway)


@pytest.mark.parametrize(("role", "code"), [(Role.PLAYER, "PAUSED"), (Role.GM, None)])
async def test_while_a_table_is_paused_only_game_masters_act_on_its_characters(role: Role, code: str | None) -> None:
    desk = Desk()
    task = await desk.ask(desk.tables.submit(ADA, [hit("a")]))
    join: JoinItem = await desk.host.asked_for(JoinItem)
    result: JsonObject = {"role": role.value, "name": "Ada", "streams": [SESSION, SPARE], "paused": True}
    await desk.host.tell(Acked("ack", join.ref, (1, 0), result, None, False))
    if code is None:
        await desk.host.accept({})
    (ack,) = await task
    assert ack.get("error", {}).get("code") == code
