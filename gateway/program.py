"""The gateway as a program: it listens, and it goes in order.

`start` returns when the port is listened on. The socket is made here, with SO_REUSEPORT, so that several gateways share
a port and one that was restarted can bind while the old one's connections linger. `stop` tells every client to connect
elsewhere, ends with 4200 and waits `stop_s` seconds at the longest. No signal handler is touched: who runs processes
decides when they end.
"""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog
import uvicorn
from starlette.applications import Starlette

from gateway.edge import HttpBounds
from gateway.metrics import Metrics
from gateway.ports import Accept
from gateway.sockets import Sockets, SocketSettings
from gateway.websocket import websocket_class
from undying.protocol.data import JsonObject

_log = structlog.get_logger(__name__)

Step = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """Where to listen, and bounds. Port 0 takes a free one; times in seconds.

    `http_connections_max` come on top of the sockets' `connections_max`. Clients that are told to connect again spread
    over `spread_ms`.
    """

    host: str = "127.0.0.1"
    port: int = 8420
    http_connections_max: int = 512
    request_s: float = 10.0
    write_s: float = 30.0
    keep_alive_s: int = 5
    stop_s: int = 5
    spread_ms: int = 1000
    backlog: int = 2048
    sockets: SocketSettings = field(default_factory=SocketSettings)


class Gateway:
    """Serves HTTP and WebSockets on one port; runs inside a process (`actors.runtime.Running`, structurally).

    `opening` runs before the port is listened on, `closing` after the last client was told: the hub's own start and end.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        accept: Accept,
        app: Starlette,
        metrics: Metrics,
        rng: random.Random,
        opening: Step | None = None,
        closing: Step | None = None,
    ) -> None:
        self._settings = settings
        self._sockets = Sockets(settings.sockets, accept, metrics)
        self._app = app
        self._rng = rng
        self._opening = opening
        self._closing = closing
        self._server: uvicorn.Server | None = None
        self._listener: socket.socket | None = None

    @property
    def port(self) -> int:
        """Return the port listened on, 0 when it is none."""
        return 0 if self._listener is None else int(self._listener.getsockname()[1])

    async def start(self) -> None:
        """Listen. Raises OSError when the address can't be bound."""
        listener = listen(self._settings.host, self._settings.port)
        try:
            if self._opening is not None:
                await self._opening()
            config = self._config()
            config.load()
            server = uvicorn.Server(config)
            # `serve` would take the process's signals and wake ten times a second; these are the steps it is made of.
            server.lifespan = config.lifespan_class(config)
            await server.startup(sockets=[listener])
        except BaseException:
            listener.close()
            raise
        self._listener, self._server = listener, server
        _log.info("gateway listens", host=self._settings.host, port=self.port)

    async def stop(self) -> None:
        """Send everybody away, end the requests under way, stop listening. A second call does nothing."""
        server, listener = self._server, self._listener
        if server is None or listener is None:
            return
        self._server = None
        for each in server.servers:
            each.close()
        spread_ms = self._settings.spread_ms
        self._sockets.drain(lambda: self._rng.randrange(spread_ms + 1), "the gateway goes down")
        await server.shutdown(sockets=[listener])
        self._listener = None
        if self._closing is not None:
            await self._closing()

    async def status(self) -> JsonObject:
        """Return facts about this gateway: pid, port, connected clients, whether it is going."""
        sockets = self._sockets
        return {"pid": os.getpid(), "port": self.port, "connections": len(sockets.open), "draining": sockets.draining}

    def _config(self) -> uvicorn.Config:
        settings = self._settings
        connections_max = settings.sockets.connections_max + settings.http_connections_max
        return uvicorn.Config(
            self._app,
            http=HttpBounds(connections_max, settings.request_s, settings.write_s).protocol_class(),
            ws=websocket_class(self._sockets),
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,  # anyone can send them; a proxy in front is told of by the public url
            backlog=settings.backlog,
            timeout_keep_alive=settings.keep_alive_s,
            timeout_graceful_shutdown=settings.stop_s,
        )


def listen(host: str, port: int) -> socket.socket:
    """Bind a TCP socket that others may share the port with. Raises OSError."""
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "SO_REUSEPORT"):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.setblocking(False)
        sock.bind(address)
    except BaseException:
        sock.close()
        raise
    return sock
