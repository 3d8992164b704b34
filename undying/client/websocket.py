"""The transport over a WebSocket, by the asyncio client of `websockets`.

Compression is off (frames are small, and a context per socket costs more than it saves), and so are the library's own
pings: the protocol's heartbeats see a dead server, and carry positions too.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.typing import Subprotocol

from undying.client.transport import ConnectionLost, Dial, Transport
from undying.protocol.codec import SUBPROTOCOLS, Encoding

PATH: Final = "/v1/connect"
OPEN_S: Final = 10.0
"""How long one attempt to connect may take."""
CLOSE_S: Final = 2.0
"""How long the other side has to answer a close."""
RECEIVE_MAX: Final = 32 * 1024 * 1024
"""Bytes that a message from the server may have: a whole table's snapshot is one message."""

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_SCHEMES: Final = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}


def websocket_url(base: str) -> str:
    """Return where the WebSocket of the server at `base` (http, https, ws or wss) is. Raises ValueError for other urls."""
    parts = urlsplit(base)
    scheme = _SCHEMES.get(parts.scheme)
    if scheme is None or not parts.netloc:
        raise ValueError(f"{base!r} is not the url of a server: it starts with http://, https://, ws:// or wss://")
    path = parts.path.rstrip("/")
    return urlunsplit((scheme, parts.netloc, path if path.endswith(PATH) else path + PATH, "", ""))


def dialer(encoding: Encoding) -> Dial:
    """Return a function that opens WebSockets whose messages are in `encoding`."""
    subprotocol = next(name for name, stands_for in SUBPROTOCOLS.items() if stands_for == encoding)

    async def dial(base: str) -> Transport:
        try:
            url = websocket_url(base)
            socket = await connect(
                url,
                proxy=None if urlsplit(url).hostname in _LOOPBACK else True,  # a proxy's loopback is another machine
                subprotocols=[Subprotocol(subprotocol)],
                compression=None,
                max_size=RECEIVE_MAX,
                open_timeout=OPEN_S,
                close_timeout=CLOSE_S,
                ping_interval=None,
            )
        except (OSError, TimeoutError, WebSocketException, ValueError) as fault:
            # ValueError: a server that sends its clients elsewhere named a url that is none.
            raise ConnectionLost(None, str(fault) or type(fault).__name__) from fault
        if socket.subprotocol != subprotocol:
            await socket.close()
            raise ConnectionLost(None, f"the server does not speak {subprotocol}")
        return WebSocketTransport(socket, text=encoding == "json")

    return dial


class WebSocketTransport:
    """One open WebSocket. `text`: messages go as text frames."""

    def __init__(self, socket: ClientConnection, *, text: bool) -> None:
        self._socket = socket
        self._text = text

    async def send(self, data: bytes) -> None:
        """Send one message. Raises ConnectionLost."""
        try:
            await self._socket.send(data, text=self._text)
        except ConnectionClosed as closed:
            raise _lost(closed) from closed

    async def receive(self) -> bytes | str:
        """Return the next message. Raises ConnectionLost."""
        try:
            return await self._socket.recv()
        except ConnectionClosed as closed:
            raise _lost(closed) from closed

    async def close(self) -> None:
        """Close; waits up to `CLOSE_S` for the other side."""
        await self._socket.close()


def _lost(closed: ConnectionClosed) -> ConnectionLost:
    if closed.rcvd is None:
        return ConnectionLost(None, "the connection broke")
    return ConnectionLost(closed.rcvd.code, closed.rcvd.reason)
