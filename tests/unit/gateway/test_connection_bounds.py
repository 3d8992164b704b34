"""What a client may ask for is bounded, and each bound has an answer of its own."""

from __future__ import annotations

from typing import Any

import msgpack

from gateway.asking import OPS_LOW, OPS_MAX
from gateway.connection import NOTHING_S_FACTOR
from tests.unit.gateway.scripted_host import SESSION, SPARE, Clock, make_gateway, send
from undying.protocol.errors import Code
from undying.protocol.ids import Role
from undying.protocol.link import Acked, Opened, OpenItem, OpItem


def _say(op_id: str) -> dict[str, Any]:
    return {"t": "op", "id": op_id, "s": SESSION, "k": "chat.say", "d": {"text": "hello"}}


async def test_ops_beyond_the_rate_are_refused_and_told_when_to_come_again() -> None:
    clock = Clock()
    gateway = make_gateway(clock, rate_per_s=10, rate_burst=3)
    socket, connection = await gateway.seat()
    for at in range(5):
        send(connection, _say(f"op{at}"))
    refused = [(ack["id"], ack["error"]["code"], ack["error"]["retry"]["after_ms"]) for ack in socket.of("ack")]
    assert refused == [("op3", "RATE_LIMITED", 100), ("op4", "RATE_LIMITED", 100)]
    clock.now_s = 0.1
    send(connection, _say("op5"))
    assert len(socket.of("ack")) == 2
    assert socket.closed is None


async def test_two_connections_of_a_user_share_one_rate() -> None:
    clock = Clock()
    gateway = make_gateway(clock, rate_per_s=10, rate_burst=3)
    (first, one), (second, two) = await gateway.seat(), await gateway.seat()
    for at in range(3):
        send(one, _say(f"op{at}"))
    send(two, _say("op3"))
    assert (first.of("ack"), [ack["error"]["code"] for ack in second.of("ack")]) == ([], ["RATE_LIMITED"])


async def test_a_user_of_the_same_id_at_another_table_pays_for_themselves() -> None:
    gateway = make_gateway(Clock(), rate_per_s=10, rate_burst=3)
    victim, connection = await gateway.seat()
    _, stranger = gateway.connect()
    send(stranger, {"t": "join", "token": gateway.tokens.join_token("evil", "ada", "Not Ada", Role.GM, 60)})
    await gateway.host.let_in(Role.GM, ["session:evil"])
    await gateway.host.show()
    for at in range(50):
        send(stranger, {**_say(f"op{at}"), "s": "session:evil"})
        send(stranger, {"t": "eph", "s": "session:evil", "k": "typing", "d": {}})
    send(connection, _say("mine"))
    send(connection, {"t": "eph", "s": SESSION, "k": "typing", "d": {}})
    assert victim.of("ack") == []
    await gateway.host.tell()
    items = [gateway.host.asked.get_nowait() for _ in range(gateway.host.asked.qsize())]
    assert {"op", "eph"} == {item.tag for item in items if item.stream == SESSION and item.tag != "presence"}


async def test_a_client_with_many_ops_without_an_answer_is_not_read_until_few_are_left_and_none_is_refused() -> None:
    gateway = make_gateway(rate_per_s=0)
    socket, connection = await gateway.seat()
    for at in range(OPS_MAX - 1):
        send(connection, _say(f"op{at}"))
    assert not socket.paused
    send(connection, _say("the last"))
    assert socket.paused
    for _ in range(OPS_MAX - OPS_LOW):
        await gateway.host.accept({})
    assert socket.paused
    await gateway.host.accept({})
    assert not socket.paused
    while len(socket.of("ack")) < OPS_MAX:
        await gateway.host.accept({})
    assert all(ack["ok"] for ack in socket.of("ack"))


async def test_ops_that_were_refused_at_once_are_no_reason_not_to_read() -> None:
    gateway = make_gateway(rate_per_s=0)
    socket, connection = await gateway.seat()
    for at in range(2 * OPS_MAX):
        send(connection, {**_say(f"op{at}"), "s": "session:other"})
    assert not socket.paused


async def test_a_client_that_is_not_read_is_not_ended_because_nothing_is_heard_of_it() -> None:
    clock = Clock()
    gateway = make_gateway(clock, rate_per_s=0, hb_ms=1_000)
    socket, connection = await gateway.seat()
    for at in range(OPS_MAX):
        send(connection, _say(f"op{at}"))
    for clock.now_s in (2.0, 4.0, 29.0):
        connection.tick(clock.now_s)
    assert socket.closed is None
    while socket.paused:
        await gateway.host.accept({})
    clock.now_s = 29.0 + NOTHING_S_FACTOR + 0.1
    connection.tick(clock.now_s)
    assert socket.closed == 4203


async def test_a_client_that_claims_to_be_behind_is_brought_up_to_date_once_a_second() -> None:
    clock = Clock()
    gateway = make_gateway(clock)
    socket, connection = await gateway.seat()
    asked: list[float] = []
    for clock.now_s in (5.0, 5.1, 5.2, 5.9, 6.0, 6.2, 6.3):
        send(connection, {"t": "hb", "pos": {SESSION: [0, 0]}})
        await gateway.host.tell()
        items = [gateway.host.asked.get_nowait() for _ in range(gateway.host.asked.qsize())]
        for item in items:
            if isinstance(item, OpenItem):
                asked.append(clock.now_s)
                state = msgpack.packb({})
                await gateway.host.tell(Opened("opened", item.ref, SESSION, "snapshot", (1, 0), state, [], ""))
    assert asked == [5.0, 6.0]
    assert len(socket.of("hb_ok")) == 7


async def test_a_refusal_does_not_repeat_a_long_name_of_a_stream() -> None:
    gateway = make_gateway()
    socket, connection = await gateway.seat()
    send(connection, {**_say("op"), "s": "session:" + "x" * 60_000})
    (ack,) = socket.of("ack")
    assert (ack["error"]["code"], len(ack["s"])) == ("NOT_FOUND", 80)


async def test_something_for_now_only_that_is_too_large_or_for_another_stream_goes_nowhere() -> None:
    gateway = make_gateway()
    socket, connection = await gateway.seat()
    send(connection, {"t": "eph", "s": SESSION, "k": "typing", "d": {"x": "y" * 5_000}})
    send(connection, {"t": "eph", "s": "session:s2", "k": "typing", "d": {}})
    send(connection, _say("op"))
    item = await gateway.host.asked.get()
    while not isinstance(item, OpItem):
        assert not isinstance(item, OpenItem)
        assert item.tag != "eph"
        item = await gateway.host.asked.get()
    assert socket.closed is None


async def test_something_for_now_only_is_paid_for_before_it_is_measured() -> None:
    gateway = make_gateway(Clock(), rate_per_s=10, rate_burst=3)
    _, connection = await gateway.seat()
    for size in (50_000, 50_000, 50_000, 1):
        send(connection, {"t": "eph", "s": SESSION, "k": "typing", "d": {"x": "y" * size}})
    await gateway.host.tell()
    items = [gateway.host.asked.get_nowait() for _ in range(gateway.host.asked.qsize())]
    assert [item for item in items if item.tag == "eph"] == []


async def test_a_stranger_who_does_not_join_in_time_is_told_to_go() -> None:
    clock = Clock()
    gateway = make_gateway(clock, join_ms=10_000)
    socket, connection = gateway.connect()
    clock.now_s = 10.0
    connection.tick(clock.now_s)
    assert not socket.of("notice")
    clock.now_s = 10.1
    connection.tick(clock.now_s)
    assert [notice["error"]["code"] for notice in socket.of("notice")] == ["JOIN_TIMEOUT"]
    assert socket.closed == 4203


async def test_an_op_done_before_a_pause_gets_its_first_answer_during_the_pause() -> None:
    gateway = make_gateway()
    socket, connection = await gateway.seat(streams=[SESSION, SPARE])
    connection.pause(True)
    send(connection, {**_say("asked before"), "s": SPARE})
    item = await gateway.host.asked_for(OpItem)
    await gateway.host.tell(Acked("ack", item.ref, (1, 1), {"hp": 3}, None, True))
    assert [(ack["ok"], ack["d"], ack["dup"]) for ack in socket.of("ack")] == [(True, {"hp": 3}, True)]


async def test_during_a_pause_a_character_refuses_for_any_other_reason_in_its_own_words() -> None:
    gateway = make_gateway()
    socket, connection = await gateway.seat(streams=[SESSION, SPARE])
    connection.pause(True)
    for code in (Code.BAD_OP, Code.FORBIDDEN):
        send(connection, {**_say(code), "s": SPARE})
        await gateway.host.refuse(code)
    assert [ack["error"]["code"] for ack in socket.of("ack")] == ["BAD_OP", "PAUSED"]
