"""Streams that open late, that can't be opened for now, and that a client may not go on with from where it was."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from gateway.connection import OTHERS_S, Connection
from gateway.following import AGAIN
from tests.unit.gateway.scripted_host import SESSION, SPARE, Clock, FakeSocket, Gateway, batch, make_gateway, send
from tests.unit.gateway.test_connection import nothing_asked
from undying.protocol.effects import ChangeRole, Effect, Remove
from undying.protocol.errors import Code, Failure
from undying.protocol.ids import Role
from undying.protocol.link import Opened, OpenItem, ToHost

NEWS: dict[str, Any] = {"k": "news"}
NOWHERE = (-1, -1)
LATER = Failure(Code.UNAVAILABLE, "being brought back")


def about(socket: FakeSocket, stream: str) -> list[str]:
    return [message["t"] for message in socket.got if message.get("s") == stream]


def come_back(gateway: Gateway) -> tuple[FakeSocket, Connection]:
    """Join with a position in the session and in a character."""
    socket, connection = gateway.connect()
    token = gateway.tokens.join_token("s1", "ada", "Ada", Role.PLAYER, 60)
    send(connection, {"t": "join", "token": token, "resume": {SESSION: [1, 1], SPARE: [1, 7]}})
    return socket, connection


async def questions(gateway: Gateway, count: int = 2) -> dict[str, OpenItem]:
    """Return the next streams that are asked for."""
    items = [await gateway.host.asked_for(OpenItem) for _ in range(count)]
    return {item.stream: item for item in items}


def drained(gateway: Gateway) -> list[ToHost]:
    return [gateway.host.asked.get_nowait() for _ in range(gateway.host.asked.qsize())]


def snapshot(item: OpenItem, pos: tuple[int, int] = (1, 0)) -> Opened:
    return Opened("opened", item.ref, item.stream, "snapshot", pos, msgpack.packb({}), [], "")


def fail(gateway: Gateway, item: OpenItem, failure: Failure) -> None:
    """Let the router give up."""
    gateway.hub.router._take(item.ref).answered(failure)  # type: ignore[union-attr]


async def test_a_character_that_is_slow_to_come_back_keeps_nobody_from_the_table_and_follows_when_it_is_there() -> None:
    clock = Clock()
    gateway = make_gateway(clock)
    socket, connection = gateway.ask_to_join()
    await gateway.host.let_in(Role.PLAYER, [SESSION, SPARE])
    await gateway.host.show()
    clock.now_s = OTHERS_S - 0.1
    connection.tick(clock.now_s)
    assert not connection.live
    clock.now_s = OTHERS_S
    connection.tick(clock.now_s)
    said = socket.of("welcome")[0]["streams"]
    assert (said[SESSION]["mode"], said[SPARE]["mode"], said[SPARE]["reason"]) == ("snapshot", "snapshot", "being brought back")
    assert about(socket, SPARE) == []
    await gateway.host.show()
    assert about(socket, SPARE) == ["snapshot", "live"]


async def test_a_join_waits_for_the_session_as_long_as_it_may() -> None:
    clock = Clock()
    gateway = make_gateway(clock, join_ms=10_000)
    socket, connection = gateway.ask_to_join()
    await gateway.host.let_in(Role.PLAYER, [SESSION, SPARE])
    asked = await questions(gateway)
    await gateway.host.tell(snapshot(asked[SPARE]))
    clock.now_s = 9.9
    connection.tick(clock.now_s)
    assert socket.of("welcome") == []
    await gateway.host.tell(snapshot(asked[SESSION]))
    assert set(socket.of("welcome")[0]["streams"]) == {SESSION, SPARE}


async def test_a_stream_that_missed_the_welcome_goes_on_from_where_the_client_was() -> None:
    clock = Clock()
    gateway = make_gateway(clock)
    socket, connection = come_back(gateway)
    await gateway.host.let_in(Role.PLAYER, [SESSION, SPARE])
    asked = await questions(gateway)
    await gateway.host.tell(Opened("opened", asked[SESSION].ref, SESSION, "live", (1, 1), b"", [], ""))
    clock.now_s = OTHERS_S
    connection.tick(clock.now_s)
    said = socket.of("welcome")[0]["streams"][SPARE]
    assert said == {"mode": "replay", "pos": [1, 7], "reason": "being brought back"}
    news = batch(8, NEWS, NEWS)._replace(stream=SPARE)
    await gateway.host.tell(Opened("opened", asked[SPARE].ref, SPARE, "replay", (1, 9), b"", [news], ""))
    assert about(socket, SPARE) == ["ev", "live"]


async def test_a_stream_that_missed_the_welcome_and_can_not_go_on_starts_with_a_snapshot() -> None:
    clock = Clock()
    gateway = make_gateway(clock)
    socket, connection = come_back(gateway)
    await gateway.host.let_in(Role.PLAYER, [SESSION, SPARE])
    asked = await questions(gateway)
    await gateway.host.tell(Opened("opened", asked[SESSION].ref, SESSION, "live", (1, 1), b"", [], ""))
    clock.now_s = OTHERS_S
    connection.tick(clock.now_s)
    await gateway.host.tell(snapshot(asked[SPARE], (1, 9)))
    assert about(socket, SPARE) == ["snapshot", "live"]


async def test_what_a_late_stream_has_not_shown_yet_is_in_no_answer_to_a_heartbeat() -> None:
    clock = Clock()
    gateway = make_gateway(clock)
    socket, connection = gateway.ask_to_join()
    await gateway.host.let_in(Role.PLAYER, [SESSION, SPARE])
    await gateway.host.show()
    clock.now_s = OTHERS_S
    connection.tick(clock.now_s)
    send(connection, {"t": "hb", "pos": {SESSION: [1, 0]}})
    assert socket.of("hb_ok")[0]["pos"] == {SESSION: [1, 0]}


async def test_a_stream_that_can_not_be_opened_for_now_is_asked_for_again_ever_more_rarely() -> None:
    clock = Clock()
    gateway = make_gateway(clock)
    socket, connection = await gateway.seat()
    connection.open(SPARE)
    for attempt in range(8):
        item: OpenItem = await gateway.host.asked_for(OpenItem)
        fail(gateway, item, LATER)
        connection.tick(clock.now_s + AGAIN.nominal(attempt) * (1 - AGAIN.jitter) - 0.01)
        assert await nothing_asked(gateway)
        clock.now_s += AGAIN.nominal(attempt) * (1 + AGAIN.jitter)
        send(connection, {"t": "hb"})
        connection.tick(clock.now_s)
    assert about(socket, SPARE) == []
    await gateway.host.show()
    assert about(socket, SPARE) == ["snapshot", "live"]


async def test_a_stream_that_failed_and_was_opened_anew_since_is_not_asked_for_again() -> None:
    clock = Clock()
    gateway = make_gateway(clock)
    socket, connection = await gateway.seat(streams=[SESSION, SPARE])
    await gateway.host.tell(batch(1, NEWS, effects=[ChangeRole("role", "ada", "gm")]))
    await gateway.host.let_in(Role.GM, [SESSION, SPARE])
    asked = await questions(gateway)
    await gateway.host.tell(snapshot(asked[SESSION]))
    fail(gateway, asked[SPARE], LATER)
    await gateway.host.tell(batch(2, NEWS, effects=[ChangeRole("role", "ada", "player")]))
    await gateway.host.let_in(Role.PLAYER, [SESSION, SPARE])
    await gateway.host.show((1, 2))
    await gateway.host.show()
    clock.now_s = 20.0
    connection.tick(clock.now_s)
    assert await nothing_asked(gateway)
    assert about(socket, SPARE)[-2:] == ["snapshot", "live"]


async def test_a_session_that_can_not_be_shown_anew_for_now_does_not_end_its_connections() -> None:
    clock = Clock()
    gateway = make_gateway(clock)
    socket, connection = await gateway.seat()
    await gateway.host.tell(batch(1, NEWS, effects=[ChangeRole("role", "ada", "gm")]))
    await gateway.host.let_in(Role.GM)
    fail(gateway, await gateway.host.asked_for(OpenItem), LATER)
    assert socket.closed is None
    clock.now_s = 2.0
    connection.tick(clock.now_s)
    await gateway.host.show((1, 1))
    assert [message["state"] for message in socket.of("snapshot")] == [{"for": "player"}, {"for": "gm"}]


@pytest.mark.parametrize("effect", [ChangeRole("role", "ada", "player"), Remove("remove", "ada")])
async def test_who_had_another_role_while_they_were_away_begins_everywhere_with_snapshots(effect: Effect) -> None:
    gateway = make_gateway()
    socket, connection = come_back(gateway)
    await gateway.host.let_in(Role.PLAYER, [SESSION, SPARE])
    asked = await questions(gateway)
    assert (asked[SESSION].pos, asked[SPARE].pos) == ((1, 1), (1, 7))
    replay = [batch(2, NEWS, effects=[effect]), batch(3, NEWS)]
    await gateway.host.tell(
        Opened("opened", asked[SPARE].ref, SPARE, "live", (1, 7), b"", [], ""),
        Opened("opened", asked[SESSION].ref, SESSION, "replay", (1, 3), b"", replay, ""),
    )
    again = await questions(gateway)
    assert (again[SESSION].pos, again[SPARE].pos) == (NOWHERE, NOWHERE)
    await gateway.host.tell(snapshot(again[SESSION], (1, 3)), snapshot(again[SPARE], (1, 8)))
    assert connection.live
    assert [message["t"] for message in socket.got] == ["hello", "welcome", "snapshot", "live", "snapshot", "live"]


async def test_where_a_snapshot_hides_which_role_somebody_had_while_they_were_away_all_streams_begin_with_one() -> None:
    gateway = make_gateway()
    socket, _ = come_back(gateway)
    await gateway.host.let_in(Role.PLAYER, [SESSION, SPARE])
    asked = await questions(gateway)
    await gateway.host.tell(
        snapshot(asked[SESSION], (1, 9_000)), Opened("opened", asked[SPARE].ref, SPARE, "live", (1, 7), b"", [], "")
    )
    again: OpenItem = await gateway.host.asked_for(OpenItem)
    assert (again.stream, again.pos) == (SPARE, NOWHERE)
    await gateway.host.tell(snapshot(again))
    assert {stream: said["mode"] for stream, said in socket.of("welcome")[0]["streams"].items()} == {
        SESSION: "snapshot",
        SPARE: "snapshot",
    }


async def test_another_one_who_had_another_role_is_no_reason_for_snapshots() -> None:
    gateway = make_gateway()
    socket, _ = come_back(gateway)
    await gateway.host.let_in(Role.PLAYER, [SESSION, SPARE])
    asked = await questions(gateway)
    replay = [batch(2, NEWS, effects=[ChangeRole("role", "ben", "gm")])]
    await gateway.host.tell(
        Opened("opened", asked[SESSION].ref, SESSION, "replay", (1, 2), b"", replay, ""),
        Opened("opened", asked[SPARE].ref, SPARE, "live", (1, 7), b"", [], ""),
    )
    assert [message["t"] for message in socket.got] == ["hello", "welcome", "ev", "live", "live"]


async def test_a_client_that_left_is_forgotten_with_all_that_was_to_be_asked_again() -> None:
    clock = Clock()
    gateway = make_gateway(clock)
    _, connection = await gateway.seat()
    connection.open(SPARE)
    item: OpenItem = await gateway.host.asked_for(OpenItem)
    fail(gateway, item, LATER)
    connection.lost()
    clock.now_s = 60.0
    connection.tick(clock.now_s)
    await gateway.host.tell()
    assert [item for item in drained(gateway) if isinstance(item, OpenItem)] == []
    assert gateway.hub.connections() == 0
