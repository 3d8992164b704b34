"""One client's connection: what it may say when, and what it is given.

    greeted ──join──▶ joining ──all streams opened, welcome──▶ live ──▶ ended
       └───────────────── any error, timeout or loss ─────────────────────┘

Ends, with the code that tells the client what to do next: bytes that do not decode (1007), a frame that makes no sense or
comes at the wrong time (4002), no or a bad token (4001), a resume token that is over (4302), no join in time or nothing
heard (4203), removed (4003), replaced (4006). A bad *op* never ends a connection: it gets a refusal.

Per stream the connection knows the position up to which the client was given events. A stream is *opening* from the
question to the host until its answer; batches in between are in that answer. Invariant: the client gets each event above
its position once, in order, or a snapshot.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, cast

import structlog

from gateway.auth import Grant
from gateway.encoded import Encoded, encode
from gateway.frames import BatchFrames, snapshot_frame
from gateway.ports import Socket
from gateway.router import Outcome
from undying.protocol.closes import Close
from undying.protocol.codec import Encoding, Undecodable, decode
from undying.protocol.data import Json, JsonObject
from undying.protocol.errors import Code, Failure, UndyingError
from undying.protocol.events import Viewer
from undying.protocol.ids import Kind, Role, is_id, new_id, parse_role, stream_name
from undying.protocol.link import NO_POSITION, Acked, EphemeralItem, JoinItem, Opened, OpenItem, OpItem
from undying.protocol.position import parse_position

if TYPE_CHECKING:
    from gateway.hub import Hub

log = structlog.get_logger()

OPS_MAX: Final = 64
"""Ops without an answer that one connection may have; more are refused with OVERLOADED."""

EPHEMERAL_BYTES_MAX: Final = 4_096
STREAM_ECHO_MAX: Final = 80
"""Characters of a stream's name that a refusal repeats: no stream that there can be has more."""

RESYNC_S: Final = 1.0
"""A client that says that it is behind is given what it lacks at most this often per stream: a few bytes ask for much."""

NOTHING_S_FACTOR: Final = 2.5
"""After this many heartbeat intervals without a frame a client counts as gone."""

State = Literal["greeted", "joining", "live", "ended"]


@dataclass(slots=True)
class _Follow:
    """One stream. `at`: the position it opened at; `mark`: the position at the last heartbeat's answer."""

    at: tuple[int, int] = NO_POSITION
    pos: tuple[int, int] = NO_POSITION
    opening: bool = True
    mark: tuple[int, int] = NO_POSITION
    first: list[Encoded] = field(default_factory=list)
    mode: str = ""
    reason: str = ""


class Connection:
    """See the module. Takes messages from its socket (`receive`, `lost`) and batches from channels."""

    def __init__(self, conn_id: str, socket: Socket, hub: Hub) -> None:
        self.id = conn_id
        self.encoding: Encoding = socket.encoding
        self.viewer = Viewer("", Role.SPECTATOR)
        self.name = ""
        self._socket = socket
        self._hub = hub
        self._state: State = "greeted"
        self._session = ""
        self._grant: Grant | None = None
        self._client = ""
        self._holder = ""
        self._resume: dict[str, tuple[int, int]] = {}
        self._follows: dict[str, _Follow] = {}
        self._paused = False
        self._held: list[Encoded] = []
        self._resynced_s: dict[str, float] = {}
        self._ops = 0
        self._joins = 0
        self._heard_s = hub.now_s()
        self._since_s = self._heard_s

    @property
    def live(self) -> bool:
        """Tell whether the client has been welcomed and is still here."""
        return self._state == "live"

    # -- what the socket says --------------------------------------------------------------------------------------

    def receive(self, data: bytes | str) -> None:
        """Take one message."""
        if self._state == "ended":
            return
        self._heard_s = self._hub.now_s()
        try:
            frame = decode(data, self.encoding)
        except UndyingError as bad:
            self._refuse_frame(Close.INVALID_DATA if isinstance(bad, Undecodable) else Close.PROTOCOL_ERROR, bad.failure)
            return
        kind = frame["t"]
        if kind == "op" and self._state == "live":
            self._op(frame)
        elif kind == "join" and self._state == "greeted":
            self._join(frame)
        elif kind == "hb":
            self._heartbeat(frame)
        elif kind == "eph" and self._state == "live":
            self._ephemeral(frame)
        elif kind == "leave":
            self.end(1000, "left")
        elif self._state == "greeted" and kind == "op":
            self._refuse_frame(Close.NOT_AUTHENTICATED, Failure(Code.NOT_AUTHENTICATED, "join first"))
        else:
            self._refuse_frame(Close.PROTOCOL_ERROR, Failure(Code.BAD_FRAME, "no such frame here", {"t": str(kind)[:64]}))

    def lost(self) -> None:
        """Learn that the socket is gone."""
        self._forget()

    def tick(self, now_s: float) -> None:
        """End what took too long."""
        settings = self._hub.settings
        if self._state in ("greeted", "joining") and now_s - self._since_s > settings.join_ms / 1000:
            self._refuse_frame(Close.HEARTBEAT_MISSED, Failure(Code.JOIN_TIMEOUT, "no join in time"))
        elif now_s - self._heard_s > settings.hb_ms / 1000 * NOTHING_S_FACTOR:
            self._refuse_frame(Close.HEARTBEAT_MISSED, Failure(Code.HEARTBEAT_MISSED, "nothing heard for too long"))

    # -- joining ---------------------------------------------------------------------------------------------------

    def greet(self) -> None:
        """Say hello."""
        settings = self._hub.settings
        self._now(
            {
                "t": "hello",
                "v": 1,
                "conn": self.id,
                "node": settings.node,
                "time": self._hub.now_ms(),
                "hb_ms": settings.hb_ms,
                "join_ms": settings.join_ms,
                "max_frame": settings.frame_bytes_max,
                "rate": {"ops": settings.rate_per_s, "per_s": 1, "burst": settings.rate_burst},
            }
        )

    def _join(self, frame: JsonObject) -> None:
        token, resume = frame.get("token"), frame.get("resume")
        if not isinstance(token, str) or not (resume is None or isinstance(resume, dict)):
            bad = Failure(Code.BAD_FRAME, "a join has a token, and positions by stream if it resumes")
            self._refuse_frame(Close.PROTOCOL_ERROR, bad)
            return
        try:
            grant = self._hub.tokens.read(token)
        except UndyingError as refused:
            expired = refused.failure.code is Code.TOKEN_EXPIRED and resume is not None
            self._refuse_frame(Close.RESUME_REFUSED if expired else Close.NOT_AUTHENTICATED, refused.failure)
            return
        for stream, value in (resume or {}).items():
            position = parse_position(value)
            if position is not None:
                self._resume[stream] = position
        self._grant, self._state, self._session = grant, "joining", grant.session
        self._client, self._holder = grant.client or new_id(self._hub.rng), grant.holder
        self.viewer, self.name = Viewer(grant.user, grant.role), grant.name
        self._ask_to_join()

    def _ask_to_join(self) -> None:
        grant = self._grant
        assert grant is not None
        self._joins += 1
        stream = stream_name(Kind.SESSION, grant.session)
        join_id = f"join:{self.id}:{self._joins}"
        item = JoinItem(
            "join", self._hub.router.next_ref(), stream, join_id, grant.user, grant.role.value, grant.name, grant.issued
        )
        number = self._joins
        self._hub.router.request(item, lambda outcome: self._joined(number, outcome))

    def _joined(self, number: int, outcome: Outcome) -> None:
        # Asked again since: what this answer says may be older than what made us ask.
        if self._state == "ended" or number != self._joins:
            return
        if not isinstance(outcome, Acked) or outcome.result is None:
            self._not_joined(outcome)
            return
        assert self._grant is not None
        role, name = parse_role(str(outcome.result["role"])), str(outcome.result["name"])
        streams = cast("list[str]", outcome.result["streams"])
        # The role in the token is the one that the client had when it got what it resumes from.
        resumes = self._state == "joining" and role is self._grant.role
        self.viewer, self.name = Viewer(self.viewer.user, role), name
        self._paused = outcome.result.get("paused") is True
        self._held.clear()
        for stream in streams:
            self._open(stream, self._resume.get(stream, NO_POSITION) if resumes else NO_POSITION)
        for stream in [stream for stream in self._follows if stream not in streams]:
            self.close_stream(stream, "no longer visible")

    def _not_joined(self, outcome: Outcome) -> None:
        failure = outcome if isinstance(outcome, Failure) else Failure(Code.INTERNAL, "no answer to a join")
        if isinstance(outcome, Acked) and outcome.error is not None:
            failure = Failure.from_wire(outcome.error)
        if failure.code in (Code.REMOVED, Code.FORBIDDEN, Code.NOT_FOUND):
            self._refuse_frame(Close.FORBIDDEN, failure)
        elif failure.row.recoverable:
            self._refuse_frame(Close.OVERLOADED, failure)
        else:
            self._refuse_frame(Close.INTERNAL, failure)

    def _welcome(self) -> None:
        assert self._grant is not None
        hub = self._hub
        current = Grant(
            self._session, self.viewer.user, self.name, self.viewer.role, self._grant.issued, "resume", self._client
        )
        streams: dict[str, Json] = {}
        for stream, follow in self._follows.items():
            said: JsonObject = {"mode": follow.mode, "pos": list(follow.at)}
            if follow.reason:
                said["reason"] = follow.reason
            streams[stream] = said
        self._now(
            {
                "t": "welcome",
                "session": self._session,
                "user": self.viewer.user,
                "name": self.name,
                "role": self.viewer.role.value,
                "resume_token": hub.tokens.resume_token(current, hub.settings.resume_ttl_s),
                "resume_ttl_s": hub.settings.resume_ttl_s,
                "streams": streams,
            }
        )
        self._state = "live"
        for stream, follow in self._follows.items():
            self._send_first(stream, follow)
        held, self._held = self._held, []
        for out in held:
            self._socket.send(out)
        hub.seat(self, self._session, self._client)

    # -- streams ---------------------------------------------------------------------------------------------------

    def open(self, stream: str) -> None:
        """Give the client a stream that it may see from now on."""
        if stream not in self._follows and self._state in ("joining", "live"):
            self._open(stream, NO_POSITION)

    def refresh(self) -> None:
        """Ask for role and streams anew and show everything again: what the client has may not be what it may have."""
        if self._state in ("joining", "live"):
            self._ask_to_join()

    def take_role(self, role: Role) -> None:
        """Look with the eyes of another role from now on; `refresh` follows. What was asked with the old ones is not shown."""
        self.viewer = Viewer(self.viewer.user, role)
        for stream, follow in self._follows.items():
            if follow.opening or self._state == "joining":
                self._follows[stream] = _Follow()

    def pause(self, paused: bool) -> None:
        """Learn that the table is paused, or not any more. A session refuses ops itself, its characters know of no pause."""
        self._paused = paused

    def remove(self) -> None:
        """Learn that the user was removed. An unanswered join may be from before or after: it is asked again."""
        if self._follows:
            self.end(Close.FORBIDDEN, "removed from the table")
        else:
            self.refresh()

    def is_of(self, session: str, user: str) -> bool:
        """Tell whether this is a user's connection to a session, joined or about to."""
        return self._session == session and self.viewer.user == user

    def unavailable(self, stream: str, why: Outcome) -> None:
        """Learn that a stream can't be followed: without the session there is no table, other streams are gone."""
        if stream.startswith("session:"):
            self._not_joined(why)
        else:
            self.close_stream(stream, "not available")

    def close_stream(self, stream: str, reason: str) -> None:
        """Take a stream away."""
        if self._follows.pop(stream, None) is not None:
            self._hub.unfollow(self, stream)
            if self._state == "live":
                self._now({"t": "gone", "s": stream, "reason": reason})
            else:
                self._welcome_when_open()

    def _open(self, stream: str, pos: tuple[int, int]) -> None:
        follow = self._follows[stream] = _Follow()
        self._hub.follow(self, stream)
        item = OpenItem("open", self._hub.router.next_ref(), stream, self.viewer.user, self.viewer.role.value, pos)
        self._hub.router.request(item, lambda outcome: self._opened(stream, follow, outcome))

    def _opened(self, stream: str, follow: _Follow, outcome: Outcome) -> None:
        if self._follows.get(stream) is not follow or self._state == "ended":
            return
        if not isinstance(outcome, Opened):
            self.unavailable(stream, outcome)
            return
        follow.opening, follow.mode, follow.reason = False, outcome.mode, outcome.reason
        asked = self._resume.get(stream, NO_POSITION)
        if outcome.mode == "snapshot":
            follow.first = [snapshot_frame(stream, outcome.pos, outcome.state, self.encoding)]
        for batch in outcome.batches:
            frames = BatchFrames(batch)
            inside = batch.epoch == asked[0] and batch.first <= asked[1]
            frame = frames.frame_after(self.viewer, self.encoding, asked[1]) if inside else self._frame(frames)
            follow.first.append(frame)
        follow.at = follow.pos = follow.mark = outcome.pos
        if self._state == "live":
            self._send_first(stream, follow)
        else:
            self._welcome_when_open()

    def _welcome_when_open(self) -> None:
        if self._state == "joining" and self._follows and not any(each.opening for each in self._follows.values()):
            self._welcome()

    def _send_first(self, stream: str, follow: _Follow) -> None:
        first, follow.first = follow.first, []
        for out in first:
            self._socket.send(out)
        self._now({"t": "live", "s": stream, "pos": list(follow.at)})

    def given(self, stream: str) -> tuple[int, int] | None:
        """Return the position up to which the client was given a stream, None while it does not follow it or it opens."""
        follow = self._follows.get(stream)
        return None if follow is None or follow.opening else follow.pos

    def batch(self, frames: BatchFrames) -> None:
        """Take a batch of a stream that the client follows."""
        batch = frames.batch
        follow = self._follows.get(batch.stream)
        if follow is None or follow.opening or (batch.epoch, batch.last) <= follow.pos:
            return
        epoch, seq = follow.pos
        if batch.epoch == epoch and batch.first <= seq:
            out = frames.frame_after(self.viewer, self.encoding, seq)
        else:
            out = self._frame(frames)
        follow.pos = (batch.epoch, batch.last)
        self._send(out)
        self._hub.metrics.events_delivered += batch.last - batch.first + 1

    def _frame(self, frames: BatchFrames) -> Encoded:
        return frames.frame(self.viewer, self.encoding)

    def pass_on(self, stream: str, out: Encoded) -> None:
        """Pass a frame about a stream that has no position."""
        follow = self._follows.get(stream)
        if follow is not None and not follow.opening and self._state == "live":
            self._socket.send(out)

    # -- ops -------------------------------------------------------------------------------------------------------

    def _op(self, frame: JsonObject) -> None:
        op_id, stream, kind, args = frame.get("id"), frame.get("s"), frame.get("k"), frame.get("d", {})
        if not isinstance(op_id, str) or not 1 <= len(op_id) <= 64:
            bad = Failure(Code.BAD_FRAME, "an op has an id of 1-64 characters", {"path": "id"})
            self._refuse_frame(Close.PROTOCOL_ERROR, bad)
            return
        if not isinstance(stream, str) or not isinstance(kind, str) or not isinstance(args, dict) or kind.startswith("@"):
            path = "s" if not isinstance(stream, str) else "d" if not isinstance(args, dict) else "k"
            code = Code.BAD_ARGS if path != "k" else Code.BAD_OP
            self._refuse_op(op_id, str(stream), Failure(code, "an op has a stream, a kind and arguments", {"path": path}))
            return
        hub = self._hub
        wait_ms = hub.limits.take(self._holder)
        if wait_ms:
            self._refuse_op(op_id, stream, Failure(Code.RATE_LIMITED, "too many ops at once", after_ms=wait_ms))
        elif self._ops >= OPS_MAX:
            self._refuse_op(op_id, stream, Failure(Code.OVERLOADED, "too many ops without an answer", after_ms=100))
        elif stream not in self._follows:
            self._refuse_op(op_id, stream, Failure(Code.NOT_FOUND, "no such stream that you may see", {"path": "s"}))
        elif self._paused and self.viewer.role is not Role.GM and not stream.startswith("session:"):
            self._refuse_op(op_id, stream, Failure(Code.PAUSED, "The game master paused the session."))
        else:
            self._ops += 1
            at = frame.get("at")
            item = OpItem(
                "op",
                hub.router.next_ref(),
                stream,
                self.viewer.user,
                self.viewer.role.value,
                op_id,
                kind,
                args,
                at if type(at) is int else 0,
                parse_position(frame.get("base")) or NO_POSITION,
            )
            since_s = hub.now_s()
            hub.router.request(item, lambda outcome: self._answered(item, since_s, outcome))

    def _answered(self, item: OpItem, since_s: float, outcome: Outcome) -> None:
        self._ops -= 1
        latency_s = self._hub.now_s() - since_s
        if isinstance(outcome, Acked) and outcome.error is None:
            self._hub.metrics.op(item.kind, "accepted", latency_s)
            frame: JsonObject = {"t": "ack", "id": item.id, "ok": True, "s": item.stream, "pos": list(outcome.pos)}
            if outcome.result is not None:
                frame["d"] = outcome.result
            if outcome.dup:
                frame["dup"] = True
            self._say(frame)
            return
        if isinstance(outcome, Acked):
            self._hub.metrics.op(item.kind, "refused", latency_s)
            frame = {"t": "ack", "id": item.id, "ok": False, "s": item.stream, "error": outcome.error}
            if outcome.dup:
                frame["dup"] = True
            self._say(frame)
            return
        failure = outcome if isinstance(outcome, Failure) else Failure(Code.INTERNAL, "no answer to an op")
        self._refuse_op(item.id, item.stream, failure)

    def _refuse_op(self, op_id: str, stream: str, failure: Failure) -> None:
        self._say({"t": "ack", "id": op_id, "ok": False, "s": stream[:STREAM_ECHO_MAX], "error": failure.to_wire()})

    def _ephemeral(self, frame: JsonObject) -> None:
        stream, kind, data = frame.get("s"), frame.get("k"), frame.get("d", {})
        if not (isinstance(stream, str) and isinstance(kind, str) and is_id(kind) and isinstance(data, dict)):
            bad = Failure(Code.BAD_FRAME, "an eph has a stream, a kind and data")
            self._refuse_frame(Close.PROTOCOL_ERROR, bad)
            return
        small = len(str(data)) <= EPHEMERAL_BYTES_MAX
        if small and stream in self._follows and self._hub.limits.take(f"eph:{self._holder}") == 0:
            self._hub.router.tell(EphemeralItem("eph", stream, kind, data, self.viewer.user))

    def _heartbeat(self, frame: JsonObject) -> None:
        """Answer, and give the client what it lacks.

        What a client had at this heartbeat must be at least what it was given before the answer to the one before: that
        answer came behind it. Less means that something got lost on the way.
        """
        told = frame.get("pos")
        positions: dict[str, Json] = {}
        for stream, follow in list(self._follows.items()):
            has = parse_position(told.get(stream)) if isinstance(told, dict) else None
            behind = has is not None and not follow.opening and has < follow.mark and self._state == "live"
            if has is not None and behind and self._heard_s - self._resynced_s.get(stream, -RESYNC_S) >= RESYNC_S:
                self._resynced_s[stream] = self._heard_s
                self._resume[stream] = has
                self._open(stream, has)
                continue
            follow.mark = follow.pos
            positions[stream] = list(follow.pos)
        self._now({"t": "hb_ok", "pos": positions, "time": self._hub.now_ms()})

    # -- out -------------------------------------------------------------------------------------------------------

    def _now(self, frame: JsonObject) -> None:
        self._socket.send(encode(frame, self.encoding))

    def _say(self, frame: JsonObject) -> None:
        if self._state != "ended":
            self._send(encode(frame, self.encoding))

    def _send(self, out: Encoded) -> None:
        if self._state == "live":
            self._socket.send(out)
        elif self._state == "joining":
            self._held.append(out)

    def _refuse_frame(self, code: int, failure: Failure) -> None:
        self._now({"t": "notice", "error": failure.to_wire()})
        self.end(code, failure.message)

    def end(self, code: int, reason: str) -> None:
        """Close the connection."""
        if self._state != "ended":
            self._socket.close(code, reason)
            self._forget()

    def _forget(self) -> None:
        if self._state == "ended":
            return
        self._state = "ended"
        for stream in list(self._follows):
            self._hub.unfollow(self, stream)
        self._follows.clear()
        self._hub.gone(self, self._session, self._client)
