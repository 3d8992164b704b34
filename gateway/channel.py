"""One stream as a gateway has it: the position it reached and the connections that follow it.

It is *current* (batches follow one another and go out at once) or *behind* (from the moment its route is lost or a gap shows
until the host said what was missed); while behind it takes no batches, so it can neither lose nor repeat one.

Invariants: a connection that is live on a stream has been given exactly the events up to the channel's position; a
channel without connections is released.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgpack
import structlog

from gateway.connection import Connection
from gateway.encoded import encode
from gateway.frames import BatchFrames
from gateway.presence import Presence, Row
from undying.protocol.codec import Encoding
from undying.protocol.data import Json, JsonObject
from undying.protocol.effects import ChangeRole, unpack_effects
from undying.protocol.errors import Failure
from undying.protocol.link import NO_POSITION, Batch, Ephemeral, PresenceItem, Subscribed

if TYPE_CHECKING:
    from gateway.hub import Hub

log = structlog.get_logger()


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
                    connection.lacks(self.stream)
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
