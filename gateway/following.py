"""The streams that one client follows.

    opening ──the host's answer──▶ open

A stream is *opening* from the question to the host until its answer. Batches in between are not passed on, for they are in
that answer. From then on `pos` is the position up to which the client was given events. A question that failed for now is
asked again, however long that takes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from gateway.encoded import Encoded
from gateway.frames import BatchFrames, snapshot_frame
from gateway.router import Outcome
from undying.protocol.codec import Encoding
from undying.protocol.data import Json, JsonObject
from undying.protocol.effects import ChangeRole, Remove, unpack_effects
from undying.protocol.errors import Failure
from undying.protocol.events import Viewer
from undying.protocol.link import NO_POSITION, Opened, OpenItem
from undying.protocol.position import parse_position
from undying.resilience.backoff import Backoff

if TYPE_CHECKING:
    from gateway.connection import Connection
    from gateway.hub import Hub

AGAIN: Final = Backoff(base_s=1.0, cap_s=30.0)
"""When a failed question is asked again. The router has tried long before it says that it failed."""

CALM_S: Final = 0.25
CALM_S_MAX: Final = 5.0
CALM_ROUND_TRIPS: Final = 1.5
"""Nothing is under way on a stream on which nothing was sent for this long: one and a half times what a round trip took when
the client joined, within these bounds."""

RESYNC_S: Final = 1.0
"""A client that says that it is behind is given what it lacks at most this often per stream: a few bytes ask for much."""


@dataclass(slots=True)
class Follow:
    """One stream. `asked` is the position that the host was asked from, `at` the one that the stream opened at.

    `mark`: what the client was given before the answer to its last heartbeat. NO_POSITION until there was one since the
    stream opened: a heartbeat that is under way meanwhile knows nothing of what was just sent. `given_s`: when the client was
    last given something.
    """

    asked: tuple[int, int] = NO_POSITION
    at: tuple[int, int] = NO_POSITION
    pos: tuple[int, int] = NO_POSITION
    mark: tuple[int, int] = NO_POSITION
    opening: bool = True
    opened_s: float = 0.0
    given_s: float = 0.0
    tries: int = 0
    mode: str = ""
    reason: str = ""
    first: list[Encoded] = field(default_factory=list)

    def take(self, answer: Opened, viewer: Viewer, encoding: Encoding, now_s: float) -> None:
        """Open with the host's answer: a snapshot, what came after `asked`, or nothing because nothing is missing."""
        epoch, seq = self.asked
        if answer.mode == "snapshot":
            self.first = [snapshot_frame(answer.stream, answer.pos, answer.state, encoding)]
        for batch in answer.batches:
            frames = BatchFrames(batch)
            inside = batch.epoch == epoch and batch.first <= seq
            self.first.append(frames.frame_after(viewer, encoding, seq) if inside else frames.frame(viewer, encoding))
        self.opening, self.opened_s = False, now_s
        self.mode, self.reason = answer.mode, answer.reason
        self.at = self.pos = answer.pos

    def said(self) -> JsonObject:
        """Return what a welcome says of the stream; of one that still opens, what will follow if all goes well."""
        if self.opening:
            fresh = self.asked == NO_POSITION
            where: list[Json] = [0, 0] if fresh else [*self.asked]
            return {"mode": "snapshot" if fresh else "replay", "pos": where, "reason": "being brought back"}
        said: JsonObject = {"mode": self.mode, "pos": list(self.at)}
        if self.reason:
            said["reason"] = self.reason
        return said


class Following:
    """See the module. `opened` gets each answer that opens a stream, before it is taken; `failed` why one can't be opened."""

    def __init__(
        self,
        connection: Connection,
        hub: Hub,
        opened: Callable[[str, Follow, Opened], None],
        failed: Callable[[str, Outcome], None],
    ) -> None:
        self.streams: dict[str, Follow] = {}
        self._connection = connection
        self._hub = hub
        self._opened = opened
        self._failed = failed
        self._again_s: dict[str, float] = {}
        self._resynced_s: dict[str, float] = {}
        self._calm_s = CALM_S_MAX

    def took(self, round_trip_s: float) -> None:
        """Learn how long a round trip to the client takes at most: from the hello to its join."""
        self._calm_s = min(CALM_S_MAX, max(CALM_S, CALM_ROUND_TRIPS * round_trip_s))

    def open(self, stream: str, pos: tuple[int, int] = NO_POSITION) -> None:
        """Open a stream from a position, or with a snapshot; also one that is open or opening."""
        follow = self.streams[stream] = Follow(pos)
        self._again_s.pop(stream, None)
        self._hub.follow(self._connection, stream)
        self._ask(stream, follow)

    def close(self, stream: str) -> bool:
        """Follow a stream no longer. Returns False when it was not followed."""
        if self.streams.pop(stream, None) is None:
            return False
        self._hub.unfollow(self._connection, stream)
        return True

    def close_all(self) -> None:
        """Follow nothing any more."""
        for stream in list(self.streams):
            self._hub.unfollow(self._connection, stream)
        self.streams.clear()

    def disregard(self, *, opened_too: bool) -> None:
        """Let all that opens, or is open and not shown yet, wait for another `open`: it was asked with other eyes."""
        for stream, follow in self.streams.items():
            if follow.opening or opened_too:
                self.streams[stream] = Follow()

    def tick(self, now_s: float) -> None:
        """Ask again what failed, when it is due."""
        for stream in [stream for stream, due_s in self._again_s.items() if due_s <= now_s]:
            del self._again_s[stream]
            follow = self.streams.get(stream)
            if follow is not None:
                self._ask(stream, follow)

    def catch_up(self, told: Json, now_s: float) -> dict[str, Json]:
        """Take the positions of a heartbeat and return those for its answer; what the client lacks is opened from there.

        What a client had at this heartbeat must be at least what it was given before the answer to the one before, which
        came behind it; and all it was given, when the last of that was long enough ago. Less means that something got lost.
        """
        positions: dict[str, Json] = {}
        for stream, follow in list(self.streams.items()):
            if follow.opening:
                continue
            has = parse_position(told.get(stream)) if isinstance(told, dict) else None
            due = now_s - self._resynced_s.get(stream, -RESYNC_S) >= RESYNC_S
            calm = now_s - follow.given_s >= self._calm_s
            if has is not None and has < (follow.pos if calm else follow.mark) and due:
                self._resynced_s[stream] = now_s
                self.open(stream, has)
            else:
                follow.mark = follow.pos
                positions[stream] = list(follow.pos)
        return positions

    def distrust(self, session: str, answer: Opened) -> None:
        """Look whether a client that comes back had another role for a while; if so, begin everything with snapshots.

        Then it has holes that no position tells of. Where a snapshot of the session stands for what happened, that can't be
        known.
        """
        user = self._connection.viewer.user
        changed = any(
            isinstance(effect, ChangeRole | Remove) and effect.user == user
            for batch in answer.batches
            for effect in unpack_effects(batch.effects)
        )
        for stream, follow in list(self.streams.items()):
            if follow.asked != NO_POSITION and (changed or (answer.mode == "snapshot" and stream != session)):
                self.open(stream)

    def _ask(self, stream: str, follow: Follow) -> None:
        ref, viewer = self._hub.router.next_ref(), self._connection.viewer
        item = OpenItem("open", ref, stream, viewer.user, viewer.role.value, follow.asked)
        self._hub.router.request(item, lambda outcome: self._answered(stream, follow, outcome))

    def _answered(self, stream: str, follow: Follow, outcome: Outcome) -> None:
        if self.streams.get(stream) is not follow:  # closed, or asked for anew
            return
        if isinstance(outcome, Opened):
            self._opened(stream, follow, outcome)
        elif isinstance(outcome, Failure) and outcome.row.recoverable:
            self._again_s[stream] = self._hub.now_s() + AGAIN.delay(follow.tries, self._hub.rng)
            follow.tries += 1
        else:
            self._failed(stream, outcome)
