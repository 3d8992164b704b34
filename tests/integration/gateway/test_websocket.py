"""The WebSocket edge, spoken to by the `websockets` client and, where that one is too polite, by a raw socket."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
from contextlib import suppress
from typing import Any

import msgpack
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin, Subprotocol

from gateway.encoded import Encoded
from gateway.inbox import TURN_FRAMES
from gateway.sockets import SocketSettings
from tests.integration.gateway.serving import EchoPeer, Served, serving, until

JSON, MSGPACK = Subprotocol("undying.v1.json"), Subprotocol("undying.v1.msgpack")
TEXT, BINARY, CONT, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10


def frame(opcode: int, data: bytes, fin: bool = True, masked: bool = True) -> bytes:
    head = bytes([(0x80 if fin else 0) | opcode])
    mask = 0x80 if masked else 0
    if len(data) < 126:
        head += bytes([mask | len(data)])
    elif len(data) < 65536:
        head += bytes([mask | 126]) + struct.pack("!H", len(data))
    else:
        head += bytes([mask | 127]) + struct.pack("!Q", len(data))
    return head + (bytes(4) if masked else b"") + data


class Raw:
    """A client that keeps no rule."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, served: Served, subprotocol: str = JSON, receives: int = 2**20) -> Raw:
        """Connect; no more than about `receives` bytes are taken before somebody reads them."""
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receives)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", served.gateway.port))
        raw = cls(*await asyncio.open_connection(sock=sock, limit=receives))
        raw.writer.write(
            f"GET /v1/connect HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            f"Sec-WebSocket-Protocol: {subprotocol}\r\n\r\n".encode()
        )
        head = await raw.reader.readuntil(b"\r\n\r\n")
        assert b" 101 " in head
        assert (await raw.read())[0] in (TEXT, BINARY)  # hello
        return raw

    def send(self, *frames: bytes) -> None:
        self.writer.write(b"".join(frames))

    async def read(self) -> tuple[int, bytes]:
        first, second = await asyncio.wait_for(self.reader.readexactly(2), 5)
        length = second & 0x7F
        if length == 126:
            (length,) = struct.unpack("!H", await self.reader.readexactly(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", await self.reader.readexactly(8))
        return first & 0x0F, await self.reader.readexactly(length)

    async def closed_with(self) -> int:
        opcode, data = await self.read()
        assert opcode == CLOSE, (opcode, data)
        return int(struct.unpack("!H", data[:2])[0])


async def quiet(served: Served) -> None:
    """Return when what was sent before has been read, as far as it is read: a round trip on another connection, twice."""
    for _ in range(2):
        assert (await served.http("GET", "/healthz")).status == 200


async def code_of_close(client: ClientConnection) -> int:
    with suppress(ConnectionClosed):
        async with asyncio.timeout(5):
            async for _ in client:
                pass
    assert client.close_code is not None
    return client.close_code


@pytest.mark.parametrize(
    ("asked", "selected", "message"),
    [
        (None, None, '{"t":"hb"}'),
        ([JSON], JSON, '{"t":"hb"}'),
        ([MSGPACK], MSGPACK, msgpack.packb({"t": "hb"})),
        ([Subprotocol("chess"), JSON, MSGPACK], JSON, '{"t":"hb"}'),
        ([Subprotocol("chess")], None, '{"t":"hb"}'),
    ],
)
async def test_a_client_gets_the_first_subprotocol_that_is_spoken_and_else_json(
    asked: list[Subprotocol] | None, selected: str | None, message: Any
) -> None:
    async with serving() as served, connect(served.url, subprotocols=asked) as client:
        assert client.subprotocol == selected
        hello = await client.recv()
        assert (json.loads(hello) if isinstance(hello, str) else msgpack.unpackb(hello)) == {"t": "hello"}
        await client.send(message)
        assert await client.recv() == message


async def test_compression_is_not_agreed_to() -> None:
    async with serving() as served, connect(served.url, compression="deflate") as client:
        assert client.protocol.extensions == []


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/connect/", "/v1/connectx", "/metrics"])
async def test_another_path_is_not_found(path: str) -> None:
    async with serving() as served:
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"ws://127.0.0.1:{served.gateway.port}{path}")
        assert refused.value.response.status_code == 404
        assert json.loads(refused.value.response.body)["code"] == "NOT_FOUND"
        assert served.peers == []


async def test_a_query_does_not_change_the_path() -> None:
    async with serving() as served, connect(served.url + "?from=there") as client:
        assert await client.recv() == '{"t":"hello"}'


async def test_a_socket_outlives_the_time_that_a_request_may_take() -> None:
    async with serving(request_s=0.1) as served, connect(served.url) as client:
        assert await client.recv() == '{"t":"hello"}'
        await asyncio.sleep(0.3)
        await client.send('{"t":"still here"}')
        assert await client.recv() == '{"t":"still here"}'


async def test_a_page_of_a_foreign_origin_is_refused_and_clients_without_origin_are_not() -> None:
    async with serving(SocketSettings(origins=("https://table.example",))) as served:
        with pytest.raises(InvalidStatus) as refused:
            await connect(served.url, origin=Origin("https://evil.example"))
        assert refused.value.response.status_code == 403
        assert json.loads(refused.value.response.body)["code"] == "FORBIDDEN"
        async with connect(served.url, origin=Origin("https://table.example")), connect(served.url):
            await until(lambda: len(served.peers) == 2)


async def test_a_client_too_many_is_told_503_and_the_next_fits_when_one_left() -> None:
    async with serving(SocketSettings(connections_max=1, close_s=0.3)) as served:
        async with connect(served.url):
            with pytest.raises(InvalidStatus) as refused:
                await connect(served.url)
            assert refused.value.response.status_code == 503
            assert json.loads(refused.value.response.body)["code"] == "OVERLOADED"
        await until(lambda: served.metrics.connections == 0)
        async with connect(served.url) as client:
            assert await client.recv() == '{"t":"hello"}'


async def test_fragments_are_joined_also_around_a_ping() -> None:
    async with serving() as served:
        raw = await Raw.connect(served)
        raw.send(frame(TEXT, '{"text":"É'.encode()[:-1], fin=False), frame(PING, b"?"), frame(CONT, b"", fin=False))
        assert await raw.read() == (PONG, b"?")
        raw.send(frame(CONT, 'É"}'.encode()[1:]))
        assert await raw.read() == (TEXT, '{"text":"É"}'.encode())


async def test_an_unasked_pong_is_ignored() -> None:
    async with serving() as served:
        raw = await Raw.connect(served)
        raw.send(frame(PONG, b"why"), frame(TEXT, b"{}"))
        assert await raw.read() == (TEXT, b"{}")


async def test_a_message_of_the_largest_size_passes_and_one_byte_more_is_1009() -> None:
    async with serving(SocketSettings(frame_max=1000, close_s=0.3)) as served:
        raw = await Raw.connect(served)
        raw.send(frame(TEXT, b"x" * 1000))
        assert await raw.read() == (TEXT, b"x" * 1000)
        raw.send(frame(TEXT, b"x" * 1001))
        assert await raw.closed_with() == 1009


async def test_fragments_that_together_are_too_large_are_1009() -> None:
    async with serving(SocketSettings(frame_max=1000, close_s=0.3)) as served:
        raw = await Raw.connect(served)
        raw.send(frame(TEXT, b"x" * 600, fin=False), frame(CONT, b"x" * 600))
        assert await raw.closed_with() == 1009
        assert served.peers[0].heard == []


@pytest.mark.parametrize("data", [b"\xff", b"\xc3", b"\xed\xa0\x80", b'{"t":"\xc0\xaf"}'])
async def test_text_that_is_not_utf8_is_1007(data: bytes) -> None:
    async with serving() as served:
        raw = await Raw.connect(served)
        raw.send(frame(TEXT, data))
        assert await raw.closed_with() == 1007


@pytest.mark.parametrize(
    ("subprotocol", "data"),
    [(JSON, frame(BINARY, b"{}")), (MSGPACK, frame(TEXT, b"{}")), (JSON, frame(BINARY, b"", fin=False))],
)
async def test_the_wrong_kind_of_frame_for_the_encoding_is_4002(subprotocol: str, data: bytes) -> None:
    async with serving() as served:
        raw = await Raw.connect(served, subprotocol)
        raw.send(data)
        assert await raw.closed_with() == 4002


@pytest.mark.parametrize(
    "data",
    [
        frame(TEXT, b"{}", masked=False),
        frame(3, b""),
        frame(CONT, b"to what"),
        frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"),
        frame(PING, b"x" * 126),
        frame(PING, b"", fin=False),
        b"\xf1\x80\x00\x00\x00\x00",
        frame(CLOSE, b"\x03"),
        frame(CLOSE, struct.pack("!H", 1005)),
        b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    ],
)
async def test_a_breach_of_the_websocket_protocol_ends_the_connection_and_disturbs_no_one(data: bytes) -> None:
    async with serving() as served, connect(served.url) as other:
        raw = await Raw.connect(served)
        raw.send(data)
        assert await raw.closed_with() in (1002, 1009)
        await until(lambda: served.peers[1].losses == 1)
        await other.recv()
        await other.send("{}")
        assert await other.recv() == "{}"


async def test_nothing_after_an_error_is_looked_at() -> None:
    async with serving() as served:
        raw = await Raw.connect(served)
        raw.send(frame(TEXT, b"before"), frame(BINARY, b"wrong"), frame(TEXT, b"after"))
        assert await raw.read() == (TEXT, b"before")
        assert await raw.closed_with() == 4002
        raw.send(frame(TEXT, b"later"), frame(CLOSE, struct.pack("!H", 4002)))
        assert await raw.reader.read() == b""
        assert served.peers[0].heard == ["before"]
        assert served.peers[0].losses == 1


async def test_what_came_before_a_breach_in_the_same_bytes_is_heard() -> None:
    async with serving() as served:
        raw = await Raw.connect(served)
        raw.send(frame(TEXT, b"before"), frame(TEXT, b"naked", masked=False), frame(TEXT, b"after"))
        assert await raw.read() == (TEXT, b"before")
        assert await raw.closed_with() == 1002
        assert served.peers[0].heard == ["before"]


async def test_a_peer_that_closes_while_the_client_already_said_goodbye_harms_nothing() -> None:
    async with serving(on_message=lambda peer, _: peer.socket.close(4003, "out")) as served:
        raw = await Raw.connect(served)
        raw.send(frame(TEXT, b"{}"), frame(CLOSE, struct.pack("!H", 1000)))
        assert await raw.closed_with() == 1000
        assert await raw.reader.read() == b""
        await until(lambda: served.peers[0].losses == 1)


async def test_a_defect_behind_the_edge_ends_that_connection_with_4100_and_no_other() -> None:
    def stumble(peer: EchoPeer, data: bytes | str) -> None:
        if data == "boom":
            raise LookupError("a defect")
        peer.socket.send(Encoded(b"fine", True))

    async with serving(on_message=stumble) as served, connect(served.url) as other, connect(served.url) as client:
        await client.send("boom")
        assert await code_of_close(client) == 4100
        await other.recv()
        await other.send("{}")
        assert await other.recv() == "fine"


async def test_what_is_sent_in_one_turn_arrives_in_order_and_before_the_close() -> None:
    def talk(peer: EchoPeer, _data: bytes | str) -> None:
        for number in range(1000):
            peer.socket.send(Encoded(str(number).encode(), True))
        peer.socket.close(4003, "é" * 100)
        peer.socket.send(Encoded(b"too late", True))

    async with serving(on_message=talk) as served, connect(served.url) as client:
        await client.recv()
        await client.send("go")
        assert [await client.recv() for _ in range(1000)] == [str(number) for number in range(1000)]
        assert await code_of_close(client) == 4003
        assert client.close_reason == "é" * 61


async def test_one_encoded_frame_serves_many_sockets_whatever_its_length() -> None:
    payloads = [os.urandom(size) for size in (0, 125, 126, 65535, 65536, 300_000)]
    shared = [Encoded(payload, False) for payload in payloads]

    def talk(peer: EchoPeer, _data: bytes | str) -> None:
        for out in shared:
            peer.socket.send(out)

    async with serving(on_message=talk) as served:
        for _ in range(2):
            async with connect(served.url, subprotocols=[MSGPACK]) as client:
                await client.recv()
                await client.send(b"go")
                assert [await client.recv() for _ in payloads] == payloads


async def test_a_client_that_does_not_read_is_cut_off_within_its_bound_and_others_are_not() -> None:
    cap, chunk = 400_000, Encoded(b"x" * 50_000, True)
    bounds = SocketSettings(outbox_max=200_000, outbox_cap=cap, close_s=0.2)
    async with serving(bounds) as served, connect(served.url) as other:
        await other.recv()
        stalled = await Raw.connect(served)
        slow = served.peers[1]
        highest = 0
        async with asyncio.timeout(10):
            while not slow.losses:
                slow.socket.send(chunk)
                highest = max(highest, slow.socket.buffered)
                await asyncio.sleep(0)
        assert served.metrics.too_slow == 1
        assert highest <= cap + 2 * len(chunk.payload)
        await until(lambda: slow.socket.buffered == 0)  # cut, and the memory given back
        await other.send("{}")
        assert await other.recv() == "{}"
        stalled.writer.close()


async def test_a_slow_client_that_reads_again_in_time_sees_why_it_is_ended() -> None:
    async with serving(SocketSettings(outbox_max=100_000, outbox_cap=200_000, close_s=5)) as served:
        raw = await Raw.connect(served)
        peer = served.peers[0]
        while not peer.losses:
            peer.socket.send(Encoded(b"x" * 50_000, True))
            await asyncio.sleep(0)
        while (message := await raw.read())[0] == TEXT:
            assert len(message[1]) == 50_000
        assert message[0] == CLOSE
        assert struct.unpack("!H", message[1][:2]) == (4303,)
        raw.writer.close()


async def test_a_single_message_larger_than_the_outbox_reaches_a_client_that_reads() -> None:
    large = Encoded(b"x" * 8_000_000, True)
    async with (
        serving(SocketSettings(outbox_max=100_000), on_message=lambda peer, _: peer.socket.send(large)) as served,
        connect(served.url, max_size=None) as client,
    ):
        await client.recv()
        await client.send("go")
        assert len(await client.recv()) == 8_000_000
        await until(lambda: served.peers[0].drained > 0)


async def test_a_client_that_reads_as_its_line_allows_is_given_a_table_of_many_times_the_bound() -> None:
    def welcome(peer: EchoPeer, _data: bytes | str) -> None:
        for _ in range(4):
            peer.socket.send(Encoded(b"x" * 500_000, True))

    bounds = SocketSettings(outbox_max=50_000, stall_s=0.1)
    async with serving(bounds, on_message=welcome) as served:
        raw = await Raw.connect(served, receives=2**16)
        raw.send(frame(TEXT, b"join"))
        peer = served.peers[0]
        left, seen = 4 * (500_000 + 10), 0
        while left > 0:
            part = await asyncio.wait_for(raw.reader.read(30_000), 5)
            assert part
            left -= len(part)
            seen += peer.socket.buffered > 50_000
            if left > 200_000:  # the table plays on meanwhile
                peer.socket.send(Encoded(b"news", True))
                left += len(b"news") + 2
            await asyncio.sleep(0.01)  # a thin line: several times `stall_s` for all
        assert (served.metrics.too_slow, peer.losses) == (0, 0)
        assert seen > 20


async def test_a_client_that_stops_reading_in_the_middle_of_its_snapshot_is_ended_though_nothing_more_is_sent() -> None:
    snapshot = Encoded(b"x" * 2_000_000, True)
    bounds = SocketSettings(outbox_max=100_000, stall_s=0.1, close_s=0.1)
    async with serving(bounds, on_message=lambda peer, _: peer.socket.send(snapshot)) as served:
        raw = await Raw.connect(served, receives=2**16)
        raw.send(frame(TEXT, b"join"))
        await raw.reader.readexactly(300_000)
        await until(lambda: served.peers[0].losses == 1)
        await until(lambda: served.peers[0].socket.buffered == 0)
        assert served.metrics.too_slow == 1
        raw.writer.close()


async def test_thousands_of_tiny_frames_in_one_read_are_taken_in_turns_with_everybody_else() -> None:
    async with serving() as served, connect(served.url) as other:
        await other.recv()
        raw = await Raw.connect(served)
        flooded = served.peers[1]
        most, before = 0, 0
        raw.send(frame(TEXT, b"") * 20_000)
        while len(flooded.heard) < 20_000:
            await asyncio.sleep(0)
            most, before = max(most, len(flooded.heard) - before), len(flooded.heard)
        assert most <= 2 * TURN_FRAMES
        assert [message for message in flooded.heard if message] == []
        await other.send("{}")
        assert await other.recv() == "{}"
        raw.writer.close()


@pytest.mark.parametrize("flood", [frame(TEXT, b"{}"), frame(PING, b"?"), frame(CONT, b"", fin=False)])
async def test_more_frames_than_a_client_may_have_end_with_4108_pings_and_fragments_too(flood: bytes) -> None:
    async with serving(SocketSettings(frames_per_s=100, close_s=0.3), on_message=lambda *_: None) as served:
        raw = await Raw.connect(served)
        raw.send(frame(TEXT, b"", fin=False), flood * 400) if flood[0] == CONT else raw.send(flood * 400)
        await quiet(served)
        assert served.peers[0].losses == 0
        raw.send(flood * 500)
        while (message := await raw.read())[0] != CLOSE:
            pass
        assert struct.unpack("!H", message[1][:2]) == (4108,)


async def test_nothing_is_heard_while_the_peer_has_paused_its_client_and_everything_in_order_after() -> None:
    def listen(peer: EchoPeer, data: bytes | str) -> None:
        if data == "1":
            peer.socket.pause()

    async with serving(on_message=listen) as served:
        raw = await Raw.connect(served)
        peer = served.peers[0]
        sent = [str(number) for number in range(1000)]
        raw.send(*(frame(TEXT, each.encode()) for each in sent))
        await until(lambda: len(peer.heard) == 2)
        raw.send(frame(TEXT, b"later"))
        await quiet(served)
        assert peer.heard == ["0", "1"]
        peer.socket.resume()
        assert peer.heard == ["0", "1"]
        await until(lambda: len(peer.heard) == 1001)
        assert peer.heard == [*sent, "later"]


async def test_a_client_that_is_not_read_is_held_up_by_tcp() -> None:
    async with serving(on_message=lambda peer, _: peer.socket.pause()) as served:
        raw = await Raw.connect(served)
        chunk = frame(TEXT, b"x" * 60_000)
        raw.send(chunk)
        await until(lambda: len(served.peers[0].heard) == 1)
        while raw.writer.transport.get_write_buffer_size() < 1_000_000:
            raw.send(chunk)
            await asyncio.sleep(0)
        assert len(served.peers[0].heard) == 1
        raw.writer.close()


async def test_a_goodbye_reaches_a_client_that_is_paused_and_its_answer_is_read() -> None:
    async with serving(SocketSettings(close_s=60), on_message=lambda peer, _: peer.socket.pause()) as served:
        raw = await Raw.connect(served)
        raw.send(frame(TEXT, b"{}"), frame(TEXT, b"{}"))
        await until(lambda: len(served.peers[0].heard) == 1)
        served.peers[0].socket.close(4003, "out")
        assert await raw.closed_with() == 4003
        raw.send(frame(CLOSE, struct.pack("!H", 4003)))
        assert await raw.reader.read() == b""
        assert len(served.peers[0].heard) == 1


async def test_a_goodbye_of_the_client_behind_frames_that_wait_is_heard_after_them() -> None:
    def listen(peer: EchoPeer, data: bytes | str) -> None:
        if data == "first":
            peer.socket.pause()

    async with serving(on_message=listen) as served:
        raw = await Raw.connect(served)
        peer = served.peers[0]
        raw.send(frame(TEXT, b"first"), frame(TEXT, b"second"), frame(CLOSE, struct.pack("!H", 1000)))
        await until(lambda: peer.heard == ["first"])
        peer.socket.resume()
        assert await raw.closed_with() == 1000
        await until(lambda: peer.losses == 1)
        assert peer.heard == ["first", "second"]


async def test_a_client_that_does_not_answer_the_goodbye_is_cut() -> None:
    async with serving(SocketSettings(close_s=0.1)) as served:
        raw = await Raw.connect(served)
        served.peers[0].socket.close(4003, "out")
        assert await raw.closed_with() == 4003
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await raw.read()
        assert served.peers[0].losses == 1


async def test_pings_that_are_never_read_do_not_pile_up_answers_without_bound() -> None:
    async with serving(SocketSettings(outbox_max=50_000, outbox_cap=100_000, close_s=0.2)) as served:
        raw = await Raw.connect(served)
        burst = frame(PING, b"x" * 125) * 500
        async with asyncio.timeout(20):
            while not served.peers[0].losses:
                raw.send(burst)
                await asyncio.sleep(0)
        assert served.metrics.too_slow == 1
        raw.writer.close()


async def test_a_peer_is_told_once_that_its_client_is_gone_however_it_went() -> None:
    async with serving() as served:
        async with connect(served.url):
            pass
        raw = await Raw.connect(served)
        raw.writer.transport.abort()
        half = await Raw.connect(served)
        half.writer.write_eof()
        await until(lambda: [peer.losses for peer in served.peers] == [1, 1, 1])
        await until(lambda: served.metrics.connections == 0)
        assert served.metrics.connections_made == 3


async def test_a_socket_that_is_gone_takes_every_call() -> None:
    async with serving() as served:
        raw = await Raw.connect(served)
        raw.writer.transport.abort()
        socket = served.peers[0].socket
        await until(lambda: served.peers[0].losses == 1)
        socket.send(Encoded(b"{}", True))
        socket.pause()
        socket.resume()
        socket.close(4003, "out")
        assert socket.buffered == 0
        assert socket.address == "127.0.0.1"
        assert served.peers[0].losses == 1


async def test_a_handshake_that_is_none_is_refused_with_an_error_object() -> None:
    async with serving() as served:
        answer = await served.http("GET", "/v1/connect", headers={"connection": "upgrade", "upgrade": "websocket"})
        assert (answer.status, answer.code) == (400, "BAD_FRAME")
        assert served.metrics.connections_refused == 1
