"""Who follows what: connections on one side, streams on the other.

A channel is one stream as this gateway has it: the position it reached and the connections that follow it. It is
*current* (batches follow one another and go out at once) or *behind* (from the moment its route is lost or a gap shows
until the host said what was missed); while behind it takes no batches, so it can neither lose nor repeat one.

Invariants: a connection that is live on a stream has been given exactly the events up to the channel's position; a
channel without connections is released.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, assert_never

import msgpack
import structlog

from gateway.auth import Tokens
from gateway.connection import Connection
from gateway.encoded import encode
from gateway.frames import BatchFrames
from gateway.limits import Limits
from gateway.metrics import Metrics
from gateway.ports import HostLocator, Socket
from gateway.presence import Presence, Row
from gateway.router import Router
from undying.protocol.closes import Close
from undying.protocol.codec import Encoding
from undying.protocol.data import Json, JsonObject
from undying.protocol.effects import ChangeRole, CloseStream, Effect, OpenStream, Pause, Remove, unpack_effects
from undying.protocol.errors import Failure
from undying.protocol.events import sees
from undying.protocol.ids import Role, new_id
from undying.protocol.link import NO_POSITION, Batch, Ephemeral, PresenceItem, Subscribed
from undying.resilience.tasks import vital

log = structlog.get_logger()

SWEEP_S: Final = 1.0
SEATS_MAX: Final = 8
"""Connections that one user may have at one table; past it the oldest ends. Each costs a snapshot and the table's events."""


@dataclass(frozen=True, slots=True)
class HubSettings:
    """What connections are held to. Rates are ops per second and user (0: no limit); times in the unit of their names."""

    node: str = "local"
    hb_ms: int = 25_000
    join_ms: int = 10_000
    frame_bytes_max: int = 64 << 10
    rate_per_s: int = 30
    rate_burst: int = 60
    resume_ttl_s: int = 24 * 3600


class Channel:
    """One stream at this gateway (see the module)."""

    def __init__(self, stream: str, hub: Hub) -> None:
        self.stream = stream
        self.connections: dict[str, Connection] = {}
        self.presence = Presence(self._welcomed, lambda rows: hub.router.tell(PresenceItem("presence", stream, rows)))
        self._hub = hub
        self._current = False
        self._reached: tuple[int, int] = NO_POSITION

    def fall_behind(self) -> tuple[int, int]:
        """Take no more batches until `subscribed`; return the position up to which they were taken, or NO_POSITION."""
        self._current = False
        return self._reached

    @property
    def wanted(self) -> bool:
        """Tell whether a connection follows the stream."""
        return bool(self.connections)

    def batch(self, batch: Batch) -> None:
        """Take a batch that follows the position reached; a repeated one is dropped, a gap makes the channel ask again."""
        if not self._current or (batch.epoch, batch.last) <= self._reached:
            return
        if not self._follows(batch):
            log.warning("gap", stream=self.stream, reached=self._reached, epoch=batch.epoch, first=batch.first)
            self._hub.router.resubscribe(self.stream)
            return
        self._take(batch)

    def subscribed(self, answer: Subscribed) -> None:
        """Catch up with what was missed; where that can't be told, everybody here starts from a snapshot.

        At the first time nothing was missed, unless the subscription before this one failed: an open that came after it may
        have been answered all the same, and what happened since reached nobody.
        """
        self._current = True
        if answer.gap:
            first_time, self._reached = self._reached == NO_POSITION, answer.pos
            for connection in list(self.connections.values()):
                if not first_time or connection.given(self.stream) not in (None, answer.pos):
                    connection.refresh()
        for batch in answer.batches:
            if (batch.epoch, batch.last) > self._reached:
                self._take(batch)
        self._hub.announce(self.stream, anew=True)

    def present(self, users: list[Row]) -> None:
        """Tell everybody here who is at the table."""
        self.presence.heard = users
        self._tell(self._presence_frame(users))

    def greet(self, connection: Connection) -> None:
        """Tell a connection that came who is at the table: if that is no change to it, nobody else will."""
        if self.presence.heard is not None:
            connection.pass_on(self.stream, encode(self._presence_frame(self.presence.heard), connection.encoding))

    def ephemeral(self, message: Ephemeral) -> None:
        """Pass something for now only to everybody here but its author."""
        wire = {"t": "eph", "s": self.stream, "k": message.kind, "d": message.data, "by": message.by}
        self._tell(wire, but=message.by)

    def released(self, failure: Failure | None) -> None:
        """Learn that the route ended; whoever still follows is told why."""
        self._hub.forget(self.stream)
        self.presence.stop()
        if failure is not None:
            for connection in list(self.connections.values()):
                connection.unavailable(self.stream, failure)

    def _welcomed(self) -> Iterator[Row]:
        for connection in self.connections.values():
            if connection.live:
                yield connection.viewer.user, connection.name, connection.viewer.role.value, "online"

    def _presence_frame(self, users: list[Row]) -> JsonObject:
        rows: Json = [{"user": user, "name": name, "role": role, "state": state} for user, name, role, state in users]
        return {"t": "presence", "s": self.stream, "users": rows}

    def _tell(self, wire: Any, but: str = "") -> None:
        made: dict[Encoding, Any] = {}
        for connection in list(self.connections.values()):
            if connection.viewer.user != but:
                encoding = connection.encoding
                if encoding not in made:
                    made[encoding] = encode(wire, encoding)
                connection.pass_on(self.stream, made[encoding])

    def _follows(self, batch: Batch) -> bool:
        epoch, seq = self._reached
        if batch.first == 0:
            return tuple(msgpack.unpackb(batch.body)[0]["d"]["prev"]) == self._reached
        return batch.epoch == epoch and batch.first - 1 <= seq

    def _take(self, batch: Batch) -> None:
        self._reached = (batch.epoch, batch.last)
        effects = unpack_effects(batch.effects)
        # Before its events: who loses a role sees nothing by it any more, and who gains one is shown everything anew.
        for effect in effects:
            if isinstance(effect, ChangeRole):
                self._hub.change_role(self.stream, effect)
        frames = BatchFrames(batch)
        for connection in list(self.connections.values()):
            connection.batch(frames)
        for effect in effects:
            self._hub.apply(self, effect)


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
