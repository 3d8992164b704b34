"""Channels: current or behind; and what a session's events mean for connections."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import msgpack
import pytest

from gateway.connection import Connection
from gateway.encoded import Encoded
from gateway.presence import ANNOUNCE_S
from tests.in_virtual_time import virtual
from tests.unit.gateway.scripted_host import SESSION, SPARE, FakeSocket, Gateway, batch, make_gateway, send
from tests.unit.gateway.test_connection import claim, nothing_asked, seqs
from undying.protocol.codec import Encoding
from undying.protocol.data import JsonObject
from undying.protocol.effects import ChangeRole, CloseStream, OpenStream, Pause, Remove
from undying.protocol.errors import Code, Failure, UndyingError
from undying.protocol.events import GMS
from undying.protocol.ids import Role
from undying.protocol.link import (
    Acked,
    Ephemeral,
    EphemeralItem,
    Failed,
    JoinItem,
    Lost,
    Opened,
    OpenItem,
    PresenceItem,
    PresenceNow,
    Subscribed,
    SubscribeItem,
    unpack_items,
)

NEWS: dict[str, Any] = {"k": "news"}


def hold_subscriptions(gateway: Gateway) -> asyncio.Queue[SubscribeItem]:
    """Let the test answer subscriptions from now on."""
    held: asyncio.Queue[SubscribeItem] = asyncio.Queue()
    host = gateway.host

    async def submit(name: str, call: int, payload: bytes) -> tuple[int, bytes]:
        for item in unpack_items(payload):
            (held.put_nowait(item) if isinstance(item, SubscribeItem) else host.asked.put_nowait(item))
        return host._take()

    host.submit = submit  # type: ignore[method-assign, assignment]
    return held


async def next_of(queue: asyncio.Queue[SubscribeItem]) -> SubscribeItem:
    async with asyncio.timeout(5):
        return await queue.get()


async def test_a_gap_is_refused_and_what_is_missing_is_asked_for_from_the_position_reached() -> None:
    gateway = make_gateway()
    socket, _ = await gateway.seat()
    held = hold_subscriptions(gateway)
    await gateway.host.tell(batch(1, NEWS), batch(3, NEWS), batch(4, NEWS))
    assert seqs(socket) == [(1, 1)]
    sub = await next_of(held)
    assert sub.pos == (1, 1)
    missing = [batch(2, NEWS, NEWS), batch(4, NEWS)]
    await gateway.host.tell(Subscribed("subd", sub.ref, SESSION, False, (1, 4), missing), batch(5, NEWS))
    assert seqs(socket) == [(1, seq) for seq in (1, 2, 3, 4, 5)]


async def test_a_channel_that_is_behind_takes_no_batches_until_it_was_told_what_it_missed() -> None:
    gateway = make_gateway()
    socket, _ = await gateway.seat()
    held = hold_subscriptions(gateway)
    await gateway.host.tell(Lost("lost", SESSION, "store"))
    sub = await next_of(held)
    await gateway.host.tell(batch(1, NEWS))
    assert seqs(socket) == []
    await gateway.host.tell(Subscribed("subd", sub.ref, SESSION, False, (1, 1), [batch(1, NEWS)]))
    assert seqs(socket) == [(1, 1)]


async def test_a_claim_is_taken_only_when_it_follows_the_position_reached() -> None:
    gateway = make_gateway()
    socket, _ = await gateway.seat()
    await gateway.host.tell(batch(1, NEWS))
    held = hold_subscriptions(gateway)
    await gateway.host.tell(claim(2, (1, 1)))
    assert seqs(socket) == [(1, 1), (2, 0)]
    assert held.empty()
    await gateway.host.tell(claim(3, (2, 4)))
    assert seqs(socket) == [(1, 1), (2, 0)]
    assert (await next_of(held)).pos == (2, 0)


async def test_where_the_missing_can_not_be_told_everybody_starts_from_a_snapshot() -> None:
    gateway = make_gateway()
    socket, _ = await gateway.seat()
    held = hold_subscriptions(gateway)
    await gateway.host.tell(Lost("lost", SESSION, "store"))
    sub = await next_of(held)
    await gateway.host.tell(Subscribed("subd", sub.ref, SESSION, True, (2, 5), []))
    await gateway.host.let_in(Role.PLAYER)
    await gateway.host.show((2, 5))
    after = batch(6, NEWS)._replace(epoch=2)
    await gateway.host.tell(after)
    assert [snapshot["pos"] for snapshot in socket.of("snapshot")] == [[1, 0], [2, 5]]
    assert seqs(socket) == [(2, 6)]


@virtual
async def test_what_happened_between_an_open_and_a_subscription_that_failed_at_first_is_not_missed() -> None:
    gateway = make_gateway()
    held = hold_subscriptions(gateway)
    socket, _ = gateway.ask_to_join()
    sub = await next_of(held)
    await gateway.host.tell(Subscribed("subd", sub.ref, SESSION, True, (1, 0), []))
    await gateway.host.let_in(Role.PLAYER, [SESSION, SPARE])
    await gateway.host.show()
    failed = await next_of(held)
    opened: OpenItem = await gateway.host.asked_for(OpenItem)
    state = msgpack.packb({})
    await gateway.host.tell(
        Failed("fail", failed.ref, "store"), Opened("opened", opened.ref, SPARE, "snapshot", (2, 0), state, [], "")
    )
    sub = await next_of(held)
    missed, then, last = (batch(seq, NEWS)._replace(stream=SPARE, epoch=2) for seq in (1, 2, 3))
    await gateway.host.tell(missed, Subscribed("subd", sub.ref, SPARE, True, (2, 1), []), then)
    await gateway.host.let_in(Role.PLAYER, [SESSION, SPARE])
    await gateway.host.show()
    await gateway.host.show((2, 2))
    await gateway.host.tell(last)
    assert [frame["pos"] for frame in socket.of("snapshot") if frame["s"] == SPARE] == [[2, 0], [2, 2]]
    assert seqs(socket) == [(2, 3)]


@virtual
async def test_a_first_subscription_after_which_nobody_lacks_anything_asks_nobody_anew() -> None:
    gateway = make_gateway()
    held = hold_subscriptions(gateway)
    gateway.ask_to_join()
    await gateway.host.let_in(Role.PLAYER)
    await gateway.host.show()
    sub = await next_of(held)
    await gateway.host.tell(Subscribed("subd", sub.ref, SESSION, True, (1, 0), []))
    assert await nothing_asked(gateway)


async def test_a_stream_that_opens_is_shown_unasked_to_those_who_may_see_it() -> None:
    gateway = make_gateway()
    player, _ = await gateway.seat(Role.PLAYER)
    await gateway.host.tell(batch(1, NEWS, effects=[OpenStream("open", SPARE, (GMS,))]))
    assert await nothing_asked(gateway)
    await gateway.host.tell(batch(2, NEWS, effects=[OpenStream("open", SPARE, None)]))
    await gateway.host.show((1, 0))
    assert [message["t"] for message in player.got if message.get("s") == SPARE] == ["snapshot", "live"]


async def test_a_stream_that_closes_is_gone_and_takes_no_more_ops() -> None:
    gateway = make_gateway()
    socket, connection = await gateway.seat(streams=[SESSION, SPARE])
    await gateway.host.tell(batch(1, NEWS, effects=[CloseStream("close", SPARE, "unseated")]))
    assert socket.of("gone") == [{"t": "gone", "s": SPARE, "reason": "unseated"}]
    send(connection, {"t": "op", "id": "x", "s": SPARE, "k": "hp.change", "d": {}})
    assert socket.of("ack")[0]["error"]["code"] == "NOT_FOUND"


@pytest.mark.parametrize("told", ["at the join", "by an event"])
async def test_a_pause_holds_for_characters_until_it_ends_and_not_for_game_masters(told: str) -> None:
    gateway = make_gateway()
    player, ada = gateway.ask_to_join()
    join: JoinItem = await gateway.host.asked_for(JoinItem)
    result: JsonObject = {"role": "player", "name": "Ada", "streams": [SESSION, SPARE], "paused": told == "at the join"}
    await gateway.host.tell(Acked("ack", join.ref, (1, 0), result, None, False))
    await gateway.host.show()
    await gateway.host.show()
    _, master = await gateway.seat(Role.GM, [SESSION, SPARE])
    await gateway.host.tell(batch(1, NEWS, effects=[Pause("pause", True)] if told == "by an event" else []))
    op = {"t": "op", "id": "x", "s": SPARE, "k": "hp.change", "d": {}}
    send(ada, op)
    assert (await gateway.host.refuse(Code.FORBIDDEN)).role == "spectator"
    assert [ack["error"]["code"] for ack in player.of("ack")] == ["PAUSED"]
    send(ada, op | {"s": SESSION})  # the session knows for itself
    send(master, op)
    await gateway.host.tell(batch(2, NEWS, effects=[Pause("pause", False)]))
    send(ada, op)
    asked = [(await gateway.host.accept({})) for _ in range(3)]
    assert [(item.stream, item.role) for item in asked] == [(SESSION, "player"), (SPARE, "gm"), (SPARE, "player")]


async def test_who_is_removed_is_told_of_it_and_has_to_go_and_others_stay() -> None:
    gateway = make_gateway()
    removed, _ = await gateway.seat()
    await gateway.host.tell(batch(1, NEWS, effects=[Remove("remove", "bob")]))
    assert gateway.hub.online("s1") == 1
    await gateway.host.tell(batch(2, NEWS, effects=[Remove("remove", "ada")]))
    assert (seqs(removed), removed.closed) == ([(1, 1), (1, 2)], 4003)


async def test_a_newer_connection_of_the_same_client_replaces_the_older_one() -> None:
    gateway = make_gateway()
    older, _ = await gateway.seat()
    newer, connection = gateway.connect()
    send(connection, {"t": "join", "token": older.of("welcome")[0]["resume_token"], "resume": {}})
    await gateway.host.let_in(Role.PLAYER)
    assert gateway.hub.connections() == 2
    await gateway.host.show()
    assert (older.closed, newer.closed, gateway.hub.connections()) == (4006, None, 1)


async def test_two_clients_of_one_user_do_not_replace_each_other() -> None:
    gateway = make_gateway()
    (one, _), (two, _) = await gateway.seat(), await gateway.seat()
    assert (one.closed, two.closed, gateway.hub.online("s1")) == (None, None, 1)


async def come(gateway: Gateway, user: str, role: Role = Role.PLAYER) -> tuple[FakeSocket, Connection]:
    """Join as a user until everything is live."""
    socket, connection = gateway.connect()
    send(connection, {"t": "join", "token": gateway.tokens.join_token("s1", user, user.title(), role, 60)})
    await gateway.host.let_in(role)
    await gateway.host.show()
    return socket, connection


async def announced(gateway: Gateway) -> list[dict[str, str]]:
    """Return the announcements since the last look, each as roles by user, when all that is due was told."""
    await asyncio.sleep(2 * ANNOUNCE_S)
    items = [gateway.host.asked.get_nowait() for _ in range(gateway.host.asked.qsize())]
    return [{user: role for user, _, role, _ in item.users} for item in items if isinstance(item, PresenceItem)]


@virtual
async def test_who_is_here_is_told_to_the_session_when_they_come_and_when_they_go() -> None:
    gateway = make_gateway()
    _, connection = await come(gateway, "ada")
    assert await announced(gateway) == [{"ada": "player"}]
    await come(gateway, "bob", Role.GM)
    assert await announced(gateway) == [{"ada": "player", "bob": "gm"}]
    connection.lost()
    assert await announced(gateway) == [{"bob": "gm"}]


@virtual
async def test_a_crowd_that_comes_at_once_is_told_of_in_two_announcements() -> None:
    gateway = make_gateway()
    users = [f"user{at}" for at in range(30)]
    for user in users:
        _, connection = gateway.connect()
        send(connection, {"t": "join", "token": gateway.tokens.join_token("s1", user, user, Role.PLAYER, 60)})
    for _ in users:
        await gateway.host.let_in(Role.PLAYER)
    opening: list[OpenItem] = [await gateway.host.asked_for(OpenItem) for _ in users]
    for item in opening:
        await gateway.host.tell(Opened("opened", item.ref, SESSION, "snapshot", (1, 0), msgpack.packb({}), [], ""))
    first, then = await announced(gateway)
    assert (len(first), list(then)) == (1, users)


@virtual
async def test_what_did_not_change_is_not_told_again_but_to_the_one_who_came() -> None:
    gateway = make_gateway()
    first, _ = await come(gateway, "ada")
    await announced(gateway)
    await gateway.host.tell(PresenceNow("present", SESSION, [("ada", "Ada", "player", "online")]))
    second, connection = await come(gateway, "ada")
    connection.lost()
    assert await announced(gateway) == []
    assert len(first.of("presence")) == len(second.of("presence")) == 1
    assert second.got[-1]["users"][0]["user"] == "ada"


@virtual
async def test_a_host_that_may_have_forgotten_is_told_again() -> None:
    gateway = make_gateway()
    await come(gateway, "ada")
    await announced(gateway)
    await gateway.host.tell(Lost("lost", SESSION, "store"))
    assert await announced(gateway) == [{"ada": "player"}]


@virtual
async def test_a_new_role_is_told_with_who_is_here() -> None:
    gateway = make_gateway()
    await come(gateway, "ada")
    await announced(gateway)
    await gateway.host.tell(batch(1, NEWS, effects=[ChangeRole("role", "ada", "gm")]))
    assert await announced(gateway) == [{"ada": "gm"}]


async def test_who_is_online_is_what_the_session_said_of_all_gateways() -> None:
    gateway = make_gateway()
    await come(gateway, "ada")
    assert gateway.hub.online("s1") == 1
    rows = [(user, user, "player", "online") for user in ("ada", "bob", "ada")]
    await gateway.host.tell(PresenceNow("present", SESSION, rows))
    assert gateway.hub.online("s1") == 2


async def test_who_is_not_welcomed_yet_is_not_online() -> None:
    gateway = make_gateway()
    gateway.ask_to_join()
    await gateway.host.let_in(Role.PLAYER)
    assert (gateway.hub.followed("s1"), gateway.hub.online("s1")) == (True, 0)
    await gateway.host.show()
    assert gateway.hub.online("s1") == 1


async def test_presence_reaches_everybody_and_what_is_for_now_everybody_but_its_author() -> None:
    gateway = make_gateway()
    ada, _ = await gateway.seat()
    bob, _ = await come(gateway, "bob", Role.GM)
    await gateway.host.tell(
        PresenceNow("present", SESSION, [("ada", "Ada", "player", "online")]),
        Ephemeral("ephd", SESSION, "cursor", {"x": 1}, "ada"),
    )
    row = {"user": "ada", "name": "Ada", "role": "player", "state": "online"}
    assert ada.of("presence") == bob.of("presence") == [{"t": "presence", "s": SESSION, "users": [row]}]
    assert ada.of("eph") == []
    assert bob.of("eph") == [{"t": "eph", "s": SESSION, "k": "cursor", "d": {"x": 1}, "by": "ada"}]


async def test_what_a_client_says_for_now_only_goes_to_the_session_in_its_name() -> None:
    gateway = make_gateway()
    _, connection = await gateway.seat()
    send(connection, {"t": "eph", "s": SESSION, "k": "cursor", "d": {"x": 1}, "by": "someone else"})
    item: EphemeralItem = await gateway.host.asked_for(EphemeralItem)
    assert (item.kind, item.data, item.by) == ("cursor", {"x": 1}, "ada")


async def test_connections_to_a_session_that_can_not_come_back_end_and_are_not_left_in_silence() -> None:
    gateway = make_gateway()
    socket, _ = await gateway.seat()

    async def refuse(stream: str, *, create: bool, avoid: str) -> Any:
        raise UndyingError(Failure(Code.QUARANTINED, "failed too often"))

    gateway.hub.router._locator.locate = refuse  # type: ignore[method-assign]
    await gateway.host.tell(Lost("lost", SESSION, "moved"))
    assert socket.closed is not None
    assert socket.of("notice")[0]["error"]["code"] == "QUARANTINED"


async def test_a_gateway_follows_a_stream_only_as_long_as_somebody_does() -> None:
    gateway = make_gateway()
    _, connection = await gateway.seat()
    connection.lost()
    assert gateway.hub.router.hosts() == {}
    assert gateway.hub.online("s1") == 0
    assert (await gateway.seat())[0].of("welcome") != []


@dataclass
class TextSocket(FakeSocket):
    """A socket whose client speaks JSON."""

    encoding: Encoding = "json"

    def send(self, out: Encoded) -> None:
        assert out.text
        self.got.append(json.loads(out.payload))


async def test_json_and_messagepack_clients_of_one_table_get_the_same() -> None:
    gateway = make_gateway()
    packed, _ = await gateway.seat()
    text = TextSocket()
    connection = gateway.hub.accept(text)
    token = gateway.tokens.join_token("s1", "bob", "Bob", Role.PLAYER, 60)
    connection.receive(json.dumps({"t": "join", "token": token}))
    await gateway.host.let_in(Role.PLAYER)
    await gateway.host.show()
    await gateway.host.tell(batch(1, NEWS, {"k": "plot", "for": [GMS]}))
    for kind in ("snapshot", "ev"):
        assert packed.of(kind) == text.of(kind) != []
