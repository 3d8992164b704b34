"""What a client may say when, and what it is given in which order."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from gateway.connection import NOTHING_S_FACTOR, Connection
from gateway.following import CALM_S
from tests.unit.gateway.scripted_host import SESSION, SPARE, Clock, FakeSocket, Gateway, batch, make_gateway, send
from undying.protocol.effects import ChangeRole
from undying.protocol.errors import Code, Failure
from undying.protocol.ids import Role
from undying.protocol.link import Acked, Batch, JoinItem, Opened, OpenItem, OpItem

NEWS: dict[str, Any] = {"k": "news"}


def seqs(socket: FakeSocket) -> list[tuple[int, int]]:
    """Return the positions of all events that the client was given, in order."""
    return [(frame["e"], event["n"]) for frame in socket.of("ev") for event in frame["b"]]


def kinds(socket: FakeSocket) -> list[str]:
    return [message["t"] for message in socket.got]


def errors(socket: FakeSocket) -> list[str]:
    return [message["error"]["code"] for message in socket.of("notice")]


async def nothing_asked(gateway: Gateway) -> bool:
    """Tell whether the host was asked nothing but who is present."""
    await gateway.host.tell()
    items = [gateway.host.asked.get_nowait() for _ in range(gateway.host.asked.qsize())]
    return all(item.tag == "presence" for item in items)


def claim(epoch: int, prev: tuple[int, int]) -> Batch:
    event = {"n": 0, "k": "claimed", "d": {"prev": list(prev)}, "by": "@server", "at": 0}
    return Batch("ev", SESSION, epoch, 0, 0, True, msgpack.packb([event]), b"")


async def resume(gateway: Gateway, pos: tuple[int, int], *batches: Batch, at: tuple[int, int]) -> tuple[FakeSocket, Connection]:
    """Join with a position; the host replays the batches up to `at`."""
    socket, connection = gateway.connect()
    token = gateway.tokens.join_token("s1", "ada", "Ada", Role.PLAYER, 60)
    send(connection, {"t": "join", "token": token, "resume": {SESSION: list(pos)}})
    await gateway.host.let_in(Role.PLAYER)
    item: OpenItem = await gateway.host.asked_for(OpenItem)
    assert item.pos == pos
    mode: Any = "replay" if batches else "live"
    await gateway.host.tell(Opened("opened", item.ref, SESSION, mode, at, b"", list(batches), ""))
    return socket, connection


async def test_hello_then_welcome_then_what_is_there_then_live() -> None:
    socket, _ = await make_gateway().seat()
    assert kinds(socket) == ["hello", "welcome", "snapshot", "live"]
    welcome = socket.of("welcome")[0]
    assert (welcome["user"], welcome["role"]) == ("ada", "player")
    assert welcome["streams"] == {SESSION: {"mode": "snapshot", "pos": [1, 0]}}


async def test_a_client_without_a_gap_is_live_at_once() -> None:
    socket, _ = await resume(make_gateway(), (1, 3), at=(1, 3))
    assert kinds(socket) == ["hello", "welcome", "live"]


async def test_a_resume_inside_a_batch_gets_only_what_it_lacks() -> None:
    socket, _ = await resume(make_gateway(), (1, 2), batch(1, NEWS, NEWS, NEWS), batch(4, NEWS), at=(1, 4))
    assert kinds(socket) == ["hello", "welcome", "ev", "ev", "live"]
    assert seqs(socket) == [(1, 3), (1, 4)]


async def test_a_resume_in_an_older_epoch_is_not_taken_for_one_inside_a_newer_batch() -> None:
    new = batch(1, NEWS)._replace(epoch=2)
    socket, _ = await resume(make_gateway(), (1, 5), claim(2, (1, 5)), new, at=(2, 1))
    assert seqs(socket) == [(2, 0), (2, 1)]


async def test_batches_that_come_while_a_stream_opens_are_left_to_the_answer() -> None:
    gateway = make_gateway()
    socket, _ = gateway.ask_to_join()
    await gateway.host.let_in(Role.PLAYER)
    await gateway.host.tell(batch(1, NEWS))
    await gateway.host.show((1, 1))
    await gateway.host.tell(batch(2, NEWS))
    assert socket.of("snapshot")[0]["pos"] == [1, 1]
    assert seqs(socket) == [(1, 2)]


async def test_a_batch_is_given_once_though_it_comes_twice() -> None:
    gateway = make_gateway()
    socket, _ = await gateway.seat()
    await gateway.host.tell(batch(1, NEWS), batch(1, NEWS), batch(2, NEWS))
    assert seqs(socket) == [(1, 1), (1, 2)]


async def test_a_batch_that_begins_before_what_the_client_has_is_sliced() -> None:
    gateway = make_gateway()
    socket, _ = gateway.ask_to_join()
    await gateway.host.let_in(Role.PLAYER)
    await gateway.host.show((1, 2))
    await gateway.host.tell(batch(1, NEWS, NEWS, NEWS))
    assert seqs(socket) == [(1, 3)]


async def test_the_live_mark_is_never_ahead_of_the_events_before_it() -> None:
    gateway = make_gateway()
    socket, _ = gateway.ask_to_join()
    await gateway.host.let_in(Role.PLAYER, [SESSION, "character:c1"])
    await gateway.host.show()
    await gateway.host.tell(batch(1, NEWS))
    await gateway.host.show()
    given = [1, 0]
    for message in socket.got:
        if message["t"] == "ev":
            given = [message["e"], message["b"][-1]["n"]]
        elif message["t"] == "live" and message["s"] == SESSION:
            assert message["pos"] == given
    assert given == [1, 1]


async def test_a_heartbeat_that_shows_a_loss_on_a_living_connection_brings_what_is_lacking() -> None:
    gateway = make_gateway()
    socket, connection = await gateway.seat()
    await gateway.host.tell(batch(1, NEWS), batch(2, NEWS))
    send(connection, {"t": "hb", "pos": {SESSION: [1, 2]}})
    socket.got.clear()
    send(connection, {"t": "hb", "pos": {SESSION: [1, 1]}})
    await gateway.host.tell()
    item: OpenItem = await gateway.host.asked_for(OpenItem)
    assert item.pos == (1, 1)
    await gateway.host.tell(Opened("opened", item.ref, SESSION, "replay", (1, 2), b"", [batch(1, NEWS, NEWS)], ""))
    assert seqs(socket) == [(1, 2)]
    assert kinds(socket) == ["hb_ok", "ev", "live"]


async def test_a_heartbeat_of_a_client_that_has_not_read_yet_what_was_just_sent_shows_no_loss() -> None:
    gateway = make_gateway()
    socket, connection = await gateway.seat()
    await gateway.host.tell(batch(1, NEWS))
    send(connection, {"t": "hb", "pos": {SESSION: [1, 0]}})
    assert socket.of("hb_ok")[-1]["pos"] == {SESSION: [1, 1]}
    assert await nothing_asked(gateway)


async def test_a_heartbeat_that_crosses_the_replay_it_knows_nothing_of_brings_nothing_twice() -> None:
    gateway = make_gateway()
    socket, connection = await resume(gateway, (1, 2), batch(3, NEWS, NEWS), at=(1, 4))
    send(connection, {"t": "hb", "pos": {SESSION: [1, 2]}})
    assert await nothing_asked(gateway)
    send(connection, {"t": "hb", "pos": {SESSION: [1, 4]}})
    assert await nothing_asked(gateway)
    assert seqs(socket) == [(1, 3), (1, 4)]


async def test_a_heartbeat_that_crosses_a_snapshot_on_a_living_connection_brings_nothing_twice() -> None:
    gateway = make_gateway()
    socket, connection = await gateway.seat()
    send(connection, {"t": "hb", "pos": {SESSION: [1, 0]}})
    await gateway.host.tell(batch(1, NEWS, NEWS, effects=[ChangeRole("role", "ada", "gm")]))
    await gateway.host.let_in(Role.GM)
    await gateway.host.show((1, 2))
    send(connection, {"t": "hb", "pos": {SESSION: [1, 0]}})
    assert await nothing_asked(gateway)
    assert kinds(socket)[-2:] == ["live", "hb_ok"]


async def test_a_loss_between_two_heartbeats_after_a_replay_is_noticed_as_any_other() -> None:
    gateway = make_gateway()
    _, connection = await resume(gateway, (1, 2), batch(3, NEWS, NEWS), at=(1, 4))
    for _ in range(2):
        send(connection, {"t": "hb", "pos": {SESSION: [1, 3]}})
    assert (await gateway.host.asked_for(OpenItem)).pos == (1, 3)


async def test_on_a_calm_stream_the_first_heartbeat_shows_a_loss() -> None:
    clock = Clock()
    gateway = make_gateway(clock)
    _, connection = await gateway.seat()
    await gateway.host.tell(batch(1, NEWS))
    clock.now_s = CALM_S
    send(connection, {"t": "hb", "pos": {SESSION: [1, 0]}})
    assert (await gateway.host.asked_for(OpenItem)).pos == (1, 0)


async def test_what_is_calm_for_a_near_client_is_not_for_one_whose_round_trips_are_long() -> None:
    clock = Clock()
    gateway = make_gateway(clock)
    socket, connection = gateway.connect()
    clock.now_s = 1.0
    send(connection, {"t": "join", "token": gateway.tokens.join_token("s1", "ada", "Ada", Role.PLAYER, 60)})
    await gateway.host.let_in(Role.PLAYER)
    await gateway.host.show()
    await gateway.host.tell(batch(1, NEWS))
    clock.now_s += 1.0
    send(connection, {"t": "hb", "pos": {SESSION: [1, 0]}})
    assert await nothing_asked(gateway)
    assert socket.of("hb_ok")


async def test_an_ack_says_what_the_session_said() -> None:
    gateway = make_gateway()
    socket, connection = await gateway.seat()
    for op_id in ("a", "b"):
        send(connection, {"t": "op", "id": op_id, "s": SESSION, "k": "chat.say", "d": {}, "at": 5, "base": [1, 0]})
    one: OpItem = await gateway.host.asked_for(OpItem)
    two: OpItem = await gateway.host.asked_for(OpItem)
    assert (one.user, one.role, one.at, one.base) == ("ada", "player", 5, (1, 0))
    no = Failure(Code.PAUSED, "later").to_wire()
    await gateway.host.tell(Acked("ack", one.ref, (1, 4), {"n": 1}, None, True), Acked("ack", two.ref, (0, 0), None, no, False))
    assert socket.of("ack") == [
        {"t": "ack", "id": "a", "ok": True, "s": SESSION, "pos": [1, 4], "d": {"n": 1}, "dup": True},
        {"t": "ack", "id": "b", "ok": False, "s": SESSION, "error": no},
    ]


@pytest.mark.parametrize(
    ("change", "code", "path"),
    [
        ({"s": "session:other"}, "NOT_FOUND", "s"),
        ({"s": 5}, "BAD_ARGS", "s"),
        ({"d": None}, "BAD_ARGS", "d"),
        ({"k": 7}, "BAD_OP", "k"),
        ({"k": "@replied"}, "BAD_OP", "k"),
    ],
)
async def test_a_bad_op_is_refused_with_its_path_and_the_connection_stays(change: dict[str, Any], code: str, path: str) -> None:
    gateway = make_gateway()
    socket, connection = await gateway.seat()
    send(connection, {"t": "op", "id": "x", "s": SESSION, "k": "chat.say", "d": {}} | change)
    (ack,) = socket.of("ack")
    assert (ack["error"]["code"], ack["error"]["context"]["path"]) == (code, path)
    assert socket.closed is None
    assert await nothing_asked(gateway)


@pytest.mark.parametrize("op_id", [None, "", "x" * 65, 7])
async def test_an_op_without_an_id_that_an_ack_could_name_ends_the_connection(op_id: object) -> None:
    socket, connection = await make_gateway().seat()
    send(connection, {"t": "op", "id": op_id, "s": SESSION, "k": "chat.say", "d": {}})
    assert (errors(socket), socket.closed) == (["BAD_FRAME"], 4002)


async def test_an_op_before_the_join_is_not_authenticated() -> None:
    socket, connection = make_gateway().connect()
    send(connection, {"t": "op", "id": "x", "s": SESSION, "k": "chat.say", "d": {}})
    assert (errors(socket), socket.closed) == (["NOT_AUTHENTICATED"], 4001)


async def test_a_heartbeat_before_the_join_is_a_protocol_error() -> None:
    socket, connection = make_gateway().connect()
    send(connection, {"t": "hb"})
    assert (errors(socket), socket.closed) == (["BAD_FRAME"], 4002)


async def test_a_heartbeat_during_the_join_is_answered_and_says_nothing_about_what_was_given_later() -> None:
    gateway = make_gateway()
    socket, connection = gateway.connect()
    token = gateway.tokens.join_token("s1", "ada", "Ada", Role.PLAYER, 60)
    send(connection, {"t": "join", "token": token, "resume": {SESSION: [1, 1], SPARE: [1, 0]}})
    await gateway.host.let_in(Role.PLAYER, [SESSION, SPARE])
    item: OpenItem = await gateway.host.asked_for(OpenItem)
    await gateway.host.tell(Opened("opened", item.ref, SESSION, "replay", (1, 2), b"", [batch(2, NEWS)], ""))
    for _ in range(2):
        send(connection, {"t": "hb", "pos": {SESSION: [1, 1]}})
    assert [answer["pos"] for answer in socket.of("hb_ok")] == [{}, {}]
    await gateway.host.show()
    send(connection, {"t": "hb", "pos": {SESSION: [1, 1]}})
    assert await nothing_asked(gateway)


async def test_a_second_join_is_a_protocol_error() -> None:
    gateway = make_gateway()
    socket, connection = await gateway.seat()
    send(connection, {"t": "join", "token": gateway.tokens.join_token("s1", "ada", "Ada", Role.GM, 60)})
    assert (errors(socket), socket.closed) == (["BAD_FRAME"], 4002)


async def test_a_frame_of_no_kind_that_there_is_is_a_protocol_error() -> None:
    socket, connection = await make_gateway().seat()
    send(connection, {"t": "nonsense"})
    assert socket.closed == 4002


async def test_bytes_that_do_not_decode_end_with_1007_and_what_is_no_frame_with_4002() -> None:
    gateway = make_gateway()
    (one, first), (two, second) = gateway.connect(), gateway.connect()
    first.receive(b"\xc1")
    send(second, [1, 2])
    assert (one.closed, two.closed) == (1007, 4002)


@pytest.mark.parametrize("token", ["", "rubbish", "a.b.c"])
async def test_a_token_that_this_server_did_not_sign_lets_nobody_in(token: str) -> None:
    socket, connection = make_gateway().connect()
    send(connection, {"t": "join", "token": token})
    assert (errors(socket), socket.closed) == (["NOT_AUTHENTICATED"], 4001)


async def test_a_token_that_is_over_refuses_a_resume_with_4302_and_a_first_join_with_4001() -> None:
    gateway = make_gateway()
    token = gateway.tokens.join_token("s1", "ada", "Ada", Role.PLAYER, 0)
    (one, first), (two, second) = gateway.connect(), gateway.connect()
    send(first, {"t": "join", "token": token, "resume": {SESSION: [1, 1]}})
    send(second, {"t": "join", "token": token})
    assert (one.closed, two.closed) == (4302, 4001)
    assert errors(one) == errors(two) == ["TOKEN_EXPIRED"]


@pytest.mark.parametrize("join", [{"token": 5}, {}, {"token": "x", "resume": []}])
async def test_a_join_of_the_wrong_shape_is_a_protocol_error(join: dict[str, Any]) -> None:
    socket, connection = make_gateway().connect()
    send(connection, {"t": "join"} | join)
    assert socket.closed == 4002


async def test_positions_of_the_wrong_shape_are_as_none() -> None:
    gateway = make_gateway()
    _, connection = gateway.connect()
    token = gateway.tokens.join_token("s1", "ada", "Ada", Role.PLAYER, 60)
    send(connection, {"t": "join", "token": token, "resume": {SESSION: [-1, "x"], "session:other": [1, 1]}})
    await gateway.host.let_in(Role.PLAYER)
    assert (await gateway.host.show()).pos == (-1, -1)


@pytest.mark.parametrize(
    ("code", "close"),
    [
        (Code.REMOVED, 4003),
        (Code.NOT_FOUND, 4003),
        (Code.LIMIT_EXCEEDED, 4003),
        (Code.WRONG_STATE, 4003),
        (Code.UNAVAILABLE, 4101),
        (Code.QUARANTINED, 4100),
        (Code.DATA_DAMAGED, 4100),
        (Code.INTERNAL, 4100),
    ],
)
async def test_a_join_that_the_session_refuses_ends_with_the_code_that_says_what_to_do_next(code: Code, close: int) -> None:
    gateway = make_gateway()
    socket, _ = gateway.ask_to_join()
    item: JoinItem = await gateway.host.asked_for(JoinItem)
    await gateway.host.tell(Acked("ack", item.ref, (-1, -1), None, Failure(code, "no").to_wire(), False))
    assert (errors(socket), socket.closed) == ([code.value], close)


async def test_who_says_nothing_for_two_and_a_half_heartbeats_is_gone() -> None:
    gateway = make_gateway(hb_ms=1_000)
    socket, connection = await gateway.seat()
    now_s = gateway.hub.now_s()
    connection.tick(now_s + NOTHING_S_FACTOR - 0.1)
    assert errors(socket) == []
    connection.tick(now_s + NOTHING_S_FACTOR + 0.1)
    assert (errors(socket), socket.closed) == (["HEARTBEAT_MISSED"], 4203)


async def test_who_leaves_is_forgotten_and_hears_nothing_more() -> None:
    gateway = make_gateway()
    socket, connection = await gateway.seat()
    send(connection, {"t": "leave"})
    assert (socket.closed, gateway.hub.connections(), gateway.hub.online("s1")) == (1000, 0, 0)


async def test_a_lost_connection_with_an_op_under_way_is_not_told_and_breaks_nothing() -> None:
    gateway = make_gateway()
    socket, connection = await gateway.seat()
    send(connection, {"t": "op", "id": "x", "s": SESSION, "k": "chat.say", "d": {}})
    connection.lost()
    await gateway.host.accept()
    assert socket.of("ack") == []
