"""Who follows what: connections on one side, streams (`gateway.channel`) on the other, and what events mean for both."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, assert_never

from gateway.auth import Tokens
from gateway.channel import Channel
from gateway.connection import Connection
from gateway.limits import Limits
from gateway.metrics import Metrics
from gateway.ports import HostLocator, Socket
from gateway.router import Router
from undying.protocol.closes import Close
from undying.protocol.effects import ChangeRole, CloseStream, Effect, OpenStream, Pause, Remove
from undying.protocol.events import sees
from undying.protocol.ids import Role, new_id
from undying.resilience.tasks import vital

SWEEP_S: Final = 1.0
SEATS_MAX: Final = 8
"""Connections that one user may have at one table; past it the oldest ends. Each costs a snapshot and the table's events."""


@dataclass(frozen=True, slots=True)
class HubSettings:
    """What connections are held to. Rates: ops per second and member of a table (0: no limit); times as their names say."""

    node: str = "local"
    hb_ms: int = 25_000
    join_ms: int = 10_000
    frame_bytes_max: int = 64 << 10
    rate_per_s: int = 30
    rate_burst: int = 60
    resume_ttl_s: int = 24 * 3600


class Hub:
    """All connections and channels of one gateway. `name` is unique per life of the gateway."""

    def __init__(
        self,
        name: str,
        locator: HostLocator,
        tokens: Tokens,
        settings: HubSettings,
        metrics: Metrics,
        rng: random.Random,
        now_ms: Callable[[], int],
    ) -> None:
        self.settings = settings
        self.tokens = tokens
        self.metrics = metrics
        self.now_ms = now_ms
        self.now_s = asyncio.get_running_loop().time
        self.rng = rng
        self.limits = Limits(settings.rate_per_s, max(1, settings.rate_burst), self.now_s)
        self.router = Router(name, locator, self.channel, rng, metrics)
        self._channels: dict[str, Channel] = {}
        self._connections: dict[str, Connection] = {}
        self._clients: dict[tuple[str, str], Connection] = {}
        self._sweeper: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to watch over time limits."""
        self._sweeper = vital(self._sweep(), "the sweep")

    def stop(self) -> None:
        """Let go of all hosts. Connections are closed before, by the program."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        self.router.close()

    def accept(self, socket: Socket) -> Connection:
        """Take a new socket."""
        connection = Connection(new_id(self.rng), socket, self)
        self._connections[connection.id] = connection
        self.metrics.connections = len(self._connections)
        connection.greet()
        return connection

    def connections(self) -> int:
        """Return how many clients are connected."""
        return len(self._connections)

    def online(self, session: str) -> int:
        """Return how many members of a session are at its table, at any gateway; 0 when it is not `followed` here."""
        channel = self._channels.get(f"session:{session}")
        return 0 if channel is None else channel.presence.users()

    def followed(self, session: str) -> bool:
        """Tell whether a client here follows a session, so that this gateway hears who is at the table."""
        channel = self._channels.get(f"session:{session}")
        return channel is not None and channel.wanted

    def channel(self, stream: str) -> Channel:
        """Return a stream's channel, a new one when there is none."""
        channel = self._channels.get(stream)
        if channel is None:
            channel = self._channels[stream] = Channel(stream, self)
        return channel

    def forget(self, stream: str) -> None:
        """Forget a channel whose route ended."""
        self._channels.pop(stream, None)

    def follow(self, connection: Connection, stream: str) -> None:
        """Let a connection have a stream's batches."""
        self.channel(stream).connections[connection.id] = connection
        self.router.follow(stream)

    def unfollow(self, connection: Connection, stream: str) -> None:
        """Take a connection off a stream."""
        channel = self._channels.get(stream)
        if channel is None:
            return
        channel.connections.pop(connection.id, None)
        self.announce(stream)
        self.router.release(stream)

    def seat(self, connection: Connection, session: str, client: str) -> None:
        """Note that a client joined; an older connection of the same client ends."""
        older = self._clients.get((session, client))
        self._clients[session, client] = connection
        if older is not None and older is not connection:
            older.end(Close.REPLACED, "a newer connection of this client took over")
        channel = self.channel(f"session:{session}")
        seats = [each for each in channel.connections.values() if each.viewer.user == connection.viewer.user]
        for oldest in seats[:-SEATS_MAX]:
            oldest.end(Close.REPLACED, f"more than {SEATS_MAX} connections of one user")
        channel.greet(connection)
        self.announce(f"session:{session}")

    def gone(self, connection: Connection, session: str, client: str) -> None:
        """Forget a connection that ended."""
        self._connections.pop(connection.id, None)
        self.metrics.connections = len(self._connections)
        if self._clients.get((session, client)) is connection:
            del self._clients[session, client]

    def announce(self, stream: str, *, anew: bool = False) -> None:
        """Tell the session who of it is here, if that changed; `anew`: its host may not know what it was told."""
        channel = self._channels.get(stream)
        if channel is None or not stream.startswith("session:"):
            return
        if anew:
            channel.presence.host_changed()
        else:
            channel.presence.changed()

    def apply(self, channel: Channel, effect: Effect) -> None:
        """Do what an event means for connections."""
        if isinstance(effect, ChangeRole | Remove):
            for connection in self._connections_of(channel.stream, effect.user):
                if isinstance(effect, Remove):
                    connection.remove()
                else:
                    connection.refresh()
            return
        for connection in list(channel.connections.values()):
            if isinstance(effect, OpenStream):
                if sees(effect.audience, connection.viewer):
                    connection.open(effect.stream)
            elif isinstance(effect, CloseStream):
                connection.close_stream(effect.stream, effect.reason)
            elif isinstance(effect, Pause):
                connection.pause(effect.paused)
            else:
                assert_never(effect)

    def change_role(self, stream: str, effect: ChangeRole) -> None:
        """Give all connections of a user of a session another role."""
        for connection in self._connections_of(stream, effect.user):
            connection.take_role(Role(effect.role))
        self.announce(stream)

    def _connections_of(self, stream: str, user: str) -> list[Connection]:
        """Return a user's connections to a session, also those whose join is not answered yet and that follow nothing."""
        session = stream.partition(":")[2]
        return [connection for connection in self._connections.values() if connection.is_of(session, user)]

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            now = self.now_s()
            for connection in list(self._connections.values()):
                connection.tick(now)
            self.router.expire()
