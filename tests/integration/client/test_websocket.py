"""The SDK over a real loopback socket, with a server that speaks the protocol from the model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

import undying
from tests.client_model import ModelServer
from undying.client.transport import ConnectionLost
from undying.client.websocket import dialer, websocket_url
from undying.protocol.codec import SUBPROTOCOLS, Encoding, decode, encode
from undying.protocol.data import JsonObject

ENCODINGS: tuple[Encoding, ...] = ("msgpack", "json")


class SocketServer:
    """The model server behind a WebSocket."""

    def __init__(self) -> None:
        self.model = ModelServer()
        self.sockets: list[ServerConnection] = []
        self.frames: list[JsonObject] = []

    async def handle(self, socket: ServerConnection) -> None:
        self.sockets.append(socket)
        encoding = SUBPROTOCOLS[str(socket.subprotocol)]
        peer = self.model.connect()
        try:
            while True:
                while peer.out:
                    await socket.send(encode(peer.out.pop(0), encoding), text=encoding == "json")
                message = await socket.recv()
                assert isinstance(message, str) == (encoding == "json")
                frame = decode(message, encoding)
                self.frames.append(frame)
                code = self.model.receive(peer, frame)
                if code is not None:
                    await socket.close(code, "NOT_AUTHENTICATED: no")
        except ConnectionClosed:
            self.model.peers.remove(peer)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        subprotocols = [Subprotocol(name) for name in SUBPROTOCOLS]
        server: Server
        async with serve(self.handle, "127.0.0.1", 0, subprotocols=subprotocols) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            yield f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_a_table_is_played_over_a_real_socket_that_breaks(encoding: Encoding) -> None:
    server = SocketServer()
    async with asyncio.timeout(20.0), server.listening() as url:
        async with undying.connect(url, "join", encoding=encoding) as table:
            events = table.events()
            await table.say("Grüße ✨")
            server.sockets[0].transport.abort()
            await table.say("again")
            heard = [await anext(events), await anext(events)]
            assert [event.data["text"] for event in heard] == ["Grüße ✨", "again"]
        assert server.model.texts() == ["Grüße ✨", "again"]
        assert len(server.sockets) == 2
        await server.sockets[1].wait_closed()
        assert server.frames[-1] == {"t": "leave"}
        assert server.sockets[1].close_code == 1000


async def test_a_close_code_and_its_reason_reach_the_caller() -> None:
    server = SocketServer()
    async with asyncio.timeout(20.0), server.listening() as url:
        with pytest.raises(undying.Disconnected, match="NOT_AUTHENTICATED: no"):
            async with undying.connect(url, "forged"):
                raise AssertionError("nobody gets in")


async def test_a_server_that_speaks_something_else_is_not_spoken_to() -> None:
    async def handle(socket: ServerConnection) -> None:
        await socket.wait_closed()

    async with asyncio.timeout(20.0), serve(handle, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        with pytest.raises(ConnectionLost, match="does not speak"):
            await dialer("msgpack")(f"ws://127.0.0.1:{port}")


async def test_nobody_listening_is_a_lost_connection() -> None:
    async with asyncio.timeout(20.0):
        with pytest.raises(ConnectionLost):
            await dialer("json")("http://127.0.0.1:1")


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("http://h:1", "ws://h:1/v1/connect"),
        ("https://h", "wss://h/v1/connect"),
        ("ws://h/", "ws://h/v1/connect"),
        ("wss://h/tables/", "wss://h/tables/v1/connect"),
        ("http://h/v1/connect", "ws://h/v1/connect"),
    ],
)
def test_the_websocket_is_found_from_the_servers_url(base: str, url: str) -> None:
    assert websocket_url(base) == url
