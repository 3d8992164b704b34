"""Whoever loses a role, or a table, sees nothing more from that very event on, whatever they were doing just then."""

from __future__ import annotations

import json
from typing import Any

from tests.unit.gateway.scripted_host import SESSION, SPARE, batch, make_gateway
from undying.protocol.effects import ChangeRole, CloseStream, Remove
from undying.protocol.errors import Code, Failure
from undying.protocol.events import GMS
from undying.protocol.ids import Role
from undying.protocol.link import Acked, JoinItem, OpenItem

DEMOTED = ChangeRole("role", "ada", "player")
SECRET: dict[str, Any] = {"k": "plot", "for": [GMS]}
OPEN: dict[str, Any] = {"k": "news"}


async def test_a_demoted_game_master_sees_no_secret_of_the_batch_that_demotes_them() -> None:
    gateway = make_gateway()
    socket, _ = await gateway.seat(Role.GM)
    await gateway.host.tell(batch(1, OPEN, SECRET, effects=[DEMOTED]))
    assert [event.get("k") for event in socket.of("ev")[0]["b"]] == ["news", None]


async def test_a_demoted_game_master_sees_no_secret_while_the_session_is_asked_for_their_role() -> None:
    gateway = make_gateway()
    socket, _ = await gateway.seat(Role.GM)
    await gateway.host.tell(batch(1, OPEN, effects=[DEMOTED]))
    await gateway.host.tell(batch(2, SECRET))
    assert "plot" not in json.dumps(socket.got)


async def test_a_game_master_who_is_demoted_while_they_join_is_shown_the_table_as_a_player() -> None:
    gateway = make_gateway()
    socket, connection = gateway.ask_to_join(Role.GM)
    await gateway.host.let_in(Role.GM)
    await gateway.host.tell(batch(1, OPEN, effects=[DEMOTED]))
    await gateway.host.show()  # asked with the old role
    await gateway.host.let_in(Role.PLAYER)
    await gateway.host.show((1, 1))
    await gateway.host.tell(batch(2, SECRET))
    assert connection.live
    assert [welcome["role"] for welcome in socket.of("welcome")] == ["player"]
    assert [snapshot["state"] for snapshot in socket.of("snapshot")] == [{"for": "player"}]
    assert "plot" not in json.dumps(socket.got)


async def test_who_is_removed_while_they_join_is_not_let_in() -> None:
    gateway = make_gateway()
    socket, _ = gateway.ask_to_join()
    await gateway.host.let_in(Role.PLAYER)
    await gateway.host.tell(batch(1, OPEN, effects=[Remove("remove", "ada")]))
    await gateway.host.show()
    assert (socket.closed, socket.of("welcome")) == (4003, [])


async def test_a_stream_that_closes_while_it_is_the_last_to_open_does_not_hold_up_the_welcome() -> None:
    gateway = make_gateway()
    socket, connection = gateway.ask_to_join()
    await gateway.host.let_in(Role.PLAYER, [SESSION, SPARE])
    await gateway.host.show((1, 0))  # of the session
    await gateway.host.tell(batch(1, OPEN, effects=[CloseStream("close", SPARE, "unseated")]))
    assert connection.live
    assert list(socket.of("welcome")[0]["streams"]) == [SESSION]


async def test_a_join_answered_behind_the_removal_that_it_was_committed_with_lets_nobody_in() -> None:
    gateway = make_gateway()
    socket, _ = gateway.ask_to_join()
    early = await gateway.host.asked_for(JoinItem)
    await gateway.host.tell(batch(1, OPEN, effects=[Remove("remove", "ada")]))
    result: Any = {"role": "player", "name": "Ada", "streams": [SESSION]}
    await gateway.host.tell(Acked("ack", early.ref, (1, 0), result, None, False))
    again = await gateway.host.asked_for(JoinItem)
    refused = Failure(Code.REMOVED, "removed").to_wire()
    await gateway.host.tell(Acked("ack", again.ref, (-1, -1), None, refused, False))
    assert (socket.closed, socket.of("welcome"), gateway.host.asked.empty()) == (4003, [], True)


async def test_a_join_answered_behind_the_role_change_that_it_was_committed_with_is_asked_again() -> None:
    gateway = make_gateway()
    socket, connection = gateway.ask_to_join(Role.GM)
    early = await gateway.host.asked_for(JoinItem)
    await gateway.host.tell(batch(1, OPEN, effects=[DEMOTED]))
    result: Any = {"role": "gm", "name": "Ada", "streams": [SESSION]}
    await gateway.host.tell(Acked("ack", early.ref, (1, 0), result, None, False))
    await gateway.host.let_in(Role.PLAYER)
    await gateway.host.show((1, 1))
    assert connection.live
    assert [snapshot["state"] for snapshot in socket.of("snapshot")] == [{"for": "player"}]


async def test_a_snapshot_asked_for_with_a_role_that_was_lost_since_is_not_shown() -> None:
    gateway = make_gateway()
    socket, _ = await gateway.seat(Role.PLAYER)
    await gateway.host.tell(batch(1, OPEN, effects=[ChangeRole("role", "ada", "gm")]))
    await gateway.host.let_in(Role.GM)
    await gateway.host.tell(batch(2, OPEN, effects=[DEMOTED]))
    await gateway.host.show((1, 2))  # with the eyes of a game master
    await gateway.host.let_in(Role.PLAYER)
    await gateway.host.show((1, 2))
    assert [snapshot["state"] for snapshot in socket.of("snapshot")] == [{"for": "player"}] * 2


async def test_a_stream_that_can_not_be_opened_ends_with_gone_and_nothing_after_it() -> None:
    gateway = make_gateway()
    socket, connection = await gateway.seat()
    connection.open(SPARE)
    item = await gateway.host.asked_for(OpenItem)
    gateway.hub.router._routes[SPARE].pending[item.ref].answered(Failure(Code.NOT_FOUND, "retired"))
    assert [message["t"] for message in socket.got if message.get("s") == SPARE] == ["gone"]
