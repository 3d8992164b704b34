"""Attacks that are more than one bad input: on secrets, on a table's pace, on once-only effects, on one order for all."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest

from tests.integration.hostile_scene import DIARY, FOR_GMS, HOARD, LURKER, MEMBERS, WHISPER, Scene, do, healthy, snapshot
from tests.integration.raw_client import Closed, Encoding, Message, RawClient
from tests.integration.serving import Server, Table

pytestmark = [pytest.mark.ray, pytest.mark.store]

BOUND_S = 5.0
OPS = 10_000
CROWD = 200


@pytest.fixture
def table(server: Server) -> Table:
    """Return a table of its own for each attack, whose members have joined."""
    made = server.make_table(MEMBERS)
    for token in made.tokens.values():
        snapshot(server, made.session, token)
    return made


async def plays_on(client: RawClient, table: Table) -> None:
    """Check that an honest client's op is done within a bound."""
    started_s = time.monotonic()
    ack = await client.op(f"honest-{time.monotonic_ns()}", table.stream, "chat.say", {"text": "still here"})
    assert ack["ok"], ack
    assert time.monotonic() - started_s < BOUND_S


def events_of(client: RawClient, stream: str) -> list[tuple[int, int, str]]:
    """Return position and kind of all events of a stream that the client was given."""
    frames = [message for message in client.heard if message["t"] == "ev" and message["s"] == stream]
    return [(frame["e"], event["n"], event.get("k", "skip")) for frame in frames for event in frame["b"]]


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
async def test_no_byte_tells_anybody_what_is_not_for_them(server: Server, scene: Scene, encoding: Encoding) -> None:
    table = scene.table
    async with AsyncExitStack() as stack:
        eyes = {}
        for who in ("ada", "sam", "ai", "ben"):
            eyes[who] = await stack.enter_async_context(await RawClient.connect(server.url, encoding))
            await eyes[who].join(table.tokens[who])
        late = await stack.enter_async_context(await RawClient.connect(server.url, encoding))
        for kind, args in (
            ("token.put", {"id": "lurker", "x": 2, "y": 2, "name": LURKER, "hidden": True}),
            ("token.move", {"id": "lurker", "x": 3, "y": 3}),
            ("note.append", {"id": "plot", "text": "thickens"}),
            ("dice.roll", {"expr": "1d20", "label": FOR_GMS[3], "mode": "gm"}),
            ("chat.say", {"text": WHISPER, "to": ["ben-user"]}),
            ("ai.ask", {"prompt": DIARY, "visibility": "gm"}),
            ("combat.start", {}),
            ("initiative.next", {}),
            ("combat.end", {}),
        ):
            await asyncio.to_thread(do, server, table, "mia", table.stream, kind, args)
        at_characters: list[tuple[str, str, dict[str, Any]]] = [
            (scene.npc, "note.append", {"text": DIARY}),
            (scene.npc, "hp.set", {"value": 7, "max": 654_321}),
            (scene.ben, "item.add", {"name": HOARD}),
        ]
        for stream, kind, args in at_characters:
            await asyncio.to_thread(do, server, table, "mia", stream, kind, args)
        for text in ("plot", "lurker"):  # a refusal tells nothing either
            await eyes["ada"].op(f"peek-{text}-{encoding}", table.stream, "note.append", {"id": text, "text": "?"})
        await asyncio.to_thread(do, server, table, "mia", table.stream, "chat.say", {"text": "that was all"})
        await late.join(table.tokens["ada"], resume={stream: [1, 0] for stream in (table.stream, scene.ben, scene.npc)})
        eyes["late"] = late
        for who, client in eyes.items():
            await client.beat()
            said = json.dumps(client.heard) + json.dumps(
                await asyncio.to_thread(snapshot, server, table.session, table.tokens.get(who, table.tokens["ada"]))
            )
            assert "that was all" in said
            hidden = FOR_GMS if who == "ben" else (*FOR_GMS, WHISPER, HOARD)
            assert [secret for secret in (*hidden, "654321") if secret in said] == [], who
        assert WHISPER in json.dumps(eyes["ben"].heard)


async def test_ten_thousand_ops_in_flight_are_all_answered_and_the_table_plays_on(server: Server, table: Table) -> None:
    async with await RawClient.connect(server.url) as honest, await RawClient.connect(server.url, "msgpack") as hostile:
        await honest.join(table.tokens["gm"])
        await hostile.join(table.tokens["ada"])

        async def flood() -> None:
            for at in range(OPS):
                text = {"text": f"spam {at}"}
                await hostile.say({"t": "op", "id": f"spam{at}", "s": table.stream, "k": "chat.say", "d": text})

        async def answers() -> list[Message]:
            return [await hostile.until("ack", 60) for _ in range(OPS)]

        flooding = asyncio.create_task(flood())
        listening = asyncio.create_task(answers())
        while not listening.done():
            await plays_on(honest, table)
        await flooding
        acks = listening.result()
        assert {ack["id"] for ack in acks} == {f"spam{at}" for at in range(OPS)}
        assert all(ack["ok"] for ack in acks)  # it is held up, not refused
        await honest.beat()
        numbers = [number for _, number, _ in events_of(honest, table.stream)]
        assert numbers == sorted(set(numbers))
        said = json.dumps([message for message in honest.heard if message["t"] == "ev"]).count('"spam ')
        assert said == OPS


async def test_two_hundred_clients_that_come_and_go_leave_the_table_in_peace(server: Server, table: Table) -> None:
    async with await RawClient.connect(server.url) as honest:
        await honest.join(table.tokens["gm"])
        before = (await honest.beat())[table.stream]

        async def visit(at: int) -> None:
            async with await RawClient.connect(server.url, "msgpack" if at % 2 else "json") as visitor:
                if at % 3:
                    with suppress(Closed):  # more of one user at a time than there may be: the oldest goes
                        await visitor.join(table.tokens["ada"])
                else:  # gone before the answer
                    await visitor.say({"t": "join", "token": table.tokens["ada"]})

        visits = asyncio.gather(*(visit(at) for at in range(CROWD)))
        while not visits.done():
            await plays_on(honest, table)
        await visits
        played = sum(kind == "chat.said" for _, _, kind in events_of(honest, table.stream))
        assert (await honest.beat())[table.stream] == [before[0], before[1] + played]
        presence = await _until_alone(honest)
        assert [row["user"] for row in presence["users"]] == [honest.joined["user"]]
        await healthy(server)


async def _until_alone(client: RawClient) -> Message:
    for message in reversed(client.heard):
        if message["t"] == "presence":
            if len(message["users"]) == 1:
                return message
            break
    while len((message := await client.until("presence"))["users"]) > 1:
        pass
    return message


async def test_a_client_that_never_reads_is_cut_off_and_the_table_plays_on(server: Server, table: Table) -> None:
    async with await RawClient.connect(server.url) as honest, await RawClient.connect(server.url) as deaf:
        await honest.join(table.tokens["gm"])
        await deaf.join(table.tokens["ada"])
        deaf.writer.transport.pause_reading()  # type: ignore[attr-defined] # what a stream's writer holds is one for reading too
        for at in range(0, 1_500, 50):  # 15 MB: more than the kernel's buffers and the gateway's bound together
            for line in range(at, at + 50):
                op = {"t": "op", "id": f"chatter{line}", "s": table.stream, "k": "chat.say", "d": {"text": "x" * 10_000}}
                await honest.say(op)
            for _ in range(50):
                assert (await honest.until("ack"))["ok"]
        await plays_on(honest, table)
        await _until_alone(honest)
        deaf.writer.transport.resume_reading()  # type: ignore[attr-defined] # as above
        assert (await deaf.ended()).code in (4303, None)  # it may be cut before it could read why
        async with await RawClient.connect(server.url) as again:
            await again.join(table.tokens["ada"])


async def test_one_op_sent_on_two_connections_at_once_is_done_once(server: Server, table: Table) -> None:
    async with (
        await RawClient.connect(server.url) as honest,
        await RawClient.connect(server.url) as one,
        await RawClient.connect(server.url, "msgpack") as two,
    ):
        await honest.join(table.tokens["gm"])
        await one.join(table.tokens["ada"])
        await two.join(table.tokens["ada"])
        for at in range(50):
            op = (f"same{at}", table.stream, "dice.roll", {"expr": "10d10"})
            first, second = await asyncio.gather(one.op(*op), two.op(*op))
            assert (first["pos"], first["d"]) == (second["pos"], second["d"])
            assert sorted((first.get("dup", False), second.get("dup", False))) == [False, True]
        await honest.beat()
        assert sum(kind == "dice.rolled" for _, _, kind in events_of(honest, table.stream)) == 50


async def test_clients_in_both_encodings_that_all_talk_at_once_hear_one_order(server: Server, table: Table) -> None:
    async with AsyncExitStack() as stack:
        clients = []
        for at, who in enumerate(("gm", "mia", "ada", "ben", "ai")):
            client = await stack.enter_async_context(await RawClient.connect(server.url, "msgpack" if at % 2 else "json"))
            await client.join(table.tokens[who])
            clients.append(client)

        async def talk(client: RawClient) -> None:
            for at in range(40):
                await client.op(f"{client.name}{at}", table.stream, "dice.roll", {"expr": "1d20"})

        await asyncio.gather(*(talk(client) for client in clients))
        for client in clients:
            await client.beat()
        heard = [[message["b"] for message in client.heard if message["t"] == "ev"] for client in clients]
        orders = [[event for frame in frames for event in frame] for frames in heard]
        assert len(orders[0]) == 200
        assert all(order == orders[0] for order in orders)


async def test_half_open_handshakes_keep_nobody_out(server: Server, table: Table) -> None:
    async with AsyncExitStack() as stack:
        for at in range(100):
            host, port = server.url.removeprefix("http://").split(":")
            _, writer = await asyncio.open_connection(host, int(port))
            stack.callback(writer.transport.abort)
            writer.write((b"GET /v1/connect HTTP/1.1\r\nUpgrade: websocket\r\n", b"\x16\x03\x01", b"P")[at % 3])
        honest = await stack.enter_async_context(await RawClient.connect(server.url))
        await honest.join(table.tokens["gm"])
        await plays_on(honest, table)
        await healthy(server)


async def test_a_role_that_is_taken_away_again_and_again_never_shows_a_secret_to_a_player(server: Server, table: Table) -> None:
    async with await RawClient.connect(server.url) as gm:
        await gm.join(table.tokens["gm"])
        for at in range(20):
            async with await RawClient.connect(server.url, "msgpack" if at % 2 else "json") as ada:
                await gm.op(f"up{at}", table.stream, "member.set_role", {"user": "ada-user", "role": "gm"})
                await ada.say({"t": "join", "token": table.tokens["ada"]})
                await gm.op(f"down{at}", table.stream, "member.set_role", {"user": "ada-user", "role": "player"})
                await gm.op(f"secret{at}", table.stream, "dice.roll", {"expr": "1d20", "label": f"secret-{at}", "mode": "gm"})
                while (await ada.beat()).get(table.stream, [0, 0]) < (await gm.beat())[table.stream]:
                    pass  # not welcomed yet, or being shown the table anew
                assert f"secret-{at}" not in json.dumps(ada.heard)
