"""One client's connection: what it may say when, and what it is given.

    greeted ──join──▶ joining ──session opened, welcome──▶ live ──▶ ended
       └───────────────── any error, timeout or loss ──────────────────┘

Ends, with the code that tells the client what to do next: bytes that do not decode (1007), a frame that makes no sense or
comes at the wrong time (4002), no or a bad token (4001), a resume token that is over (4302), no join in time or nothing
heard (4203), removed or refused for good (4003), replaced (4006), the table away for a while (4101) or broken (4100).
What a client asks is in `gateway/asking.py`.

A welcome waits for the session and, for `OTHERS_S` seconds, for the other streams; those that are later go on, when they are
there, from where the client was. Per stream (`gateway/following.py`) it is known up to which position the client was given
events. Invariant: the client gets each event above its position once, in order, or a snapshot.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, Literal, cast

from gateway.asking import Asking
from gateway.auth import Grant
from gateway.encoded import Encoded, encode
from gateway.following import Follow, Following
from gateway.frames import BatchFrames
from gateway.greeting import hello, welcome
from gateway.ports import Socket
from gateway.router import Outcome
from undying.protocol.closes import Close
from undying.protocol.codec import Encoding, Undecodable, decode
from undying.protocol.data import JsonObject
from undying.protocol.errors import Code, Failure, UndyingError
from undying.protocol.events import Viewer
from undying.protocol.ids import Kind, Role, new_id, parse_role, stream_name
from undying.protocol.link import NO_POSITION, Acked, JoinItem, Opened
from undying.protocol.position import parse_position

if TYPE_CHECKING:
    from gateway.hub import Hub

OTHERS_S: Final = 1.0
"""A welcome waits for other streams this long after the session's; looked at about once a second."""

NOTHING_S_FACTOR: Final = 2.5
"""After this many heartbeat intervals without a frame a client counts as gone."""

BROKEN: Final = frozenset({Code.QUARANTINED, Code.DATA_DAMAGED, Code.INTERNAL})
"""Failures of a table that a person has to look after: its clients come back, but not soon."""

State = Literal["greeted", "joining", "live", "ended"]


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
        self._stream = ""
        self._grant: Grant | None = None
        self._client = ""
        self._resume: dict[str, tuple[int, int]] = {}
        self._held: list[Encoded] = []
        self._following = Following(self, hub, self._opened, self.unavailable)
        self._follows = self._following.streams
        self._joins = 0
        self._asking = Asking(hub, socket, self._follows, self._say, self._refuse_frame)
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
            self._asking.op(frame, self._heard_s)
        elif kind == "join" and self._state == "greeted":
            self._join(frame)
        elif kind == "hb" and self._state != "greeted":
            self._heartbeat(frame)
        elif kind == "eph" and self._state == "live":
            self._asking.ephemeral(frame)
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
        """Do what is due: welcome without streams that are late, ask for them again, end what took too long."""
        settings = self._hub.settings
        self._welcome_when_open(now_s)
        self._following.tick(now_s)
        if self._asking.full:
            self._heard_s = now_s  # nothing can be heard from a socket that we do not read
        if self._state in ("greeted", "joining") and now_s - self._since_s > settings.join_ms / 1000:
            self._refuse_frame(Close.HEARTBEAT_MISSED, Failure(Code.JOIN_TIMEOUT, "no join in time"))
        elif now_s - self._heard_s > settings.hb_ms / 1000 * NOTHING_S_FACTOR:
            self._refuse_frame(Close.HEARTBEAT_MISSED, Failure(Code.HEARTBEAT_MISSED, "nothing heard for too long"))

    # -- joining ---------------------------------------------------------------------------------------------------

    def greet(self) -> None:
        """Say hello."""
        self._now(hello(self._hub, self.id))

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
        self._following.took(self._heard_s - self._since_s)
        self._stream = stream_name(Kind.SESSION, grant.session)
        self._client, self.name = grant.client or new_id(self._hub.rng), grant.name
        self._look_as(grant.role)
        self._ask_to_join()

    def _look_as(self, role: Role) -> None:
        assert self._grant is not None
        self.viewer = Viewer(self._grant.user, role)
        self._asking.ask_as(self.viewer, self._grant.holder)

    def _ask_to_join(self) -> None:
        grant = self._grant
        assert grant is not None
        self._joins += 1
        join_id = f"join:{self.id}:{self._joins}"
        item = JoinItem(
            "join", self._hub.router.next_ref(), self._stream, join_id, grant.user, grant.role.value, grant.name, grant.issued
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
        role, self.name = parse_role(str(outcome.result["role"])), str(outcome.result["name"])
        streams = cast("list[str]", outcome.result["streams"])
        # The role in the token is the one that the client had when it got what it resumes from.
        resumes = self._state == "joining" and role is self._grant.role
        self._look_as(role)
        self._asking.table_paused = outcome.result.get("paused") is True
        self._held.clear()
        for stream in streams:
            self._following.open(stream, self._resume.get(stream, NO_POSITION) if resumes else NO_POSITION)
        for stream in [stream for stream in self._follows if stream not in streams]:
            self.close_stream(stream, "no longer visible")

    def _not_joined(self, outcome: Outcome) -> None:
        failure = outcome if isinstance(outcome, Failure) else Failure(Code.INTERNAL, "no answer to a join")
        if isinstance(outcome, Acked) and outcome.error is not None:
            failure = Failure.from_wire(outcome.error)
        if failure.code in BROKEN:
            self._refuse_frame(Close.INTERNAL, failure)
        elif failure.row.recoverable:
            self._refuse_frame(Close.OVERLOADED, failure)
        else:
            self._refuse_frame(Close.FORBIDDEN, failure)

    def _welcome_when_open(self, now_s: float) -> None:
        table = self._follows.get(self._stream)
        if self._state != "joining" or table is None or table.opening:
            return
        if now_s - table.opened_s >= OTHERS_S or not any(each.opening for each in self._follows.values()):
            self._welcome()

    def _welcome(self) -> None:
        assert self._grant is not None
        opened = {stream: follow for stream, follow in self._follows.items() if not follow.opening}
        current = replace(self._grant, name=self.name, role=self.viewer.role, purpose="resume", client=self._client)
        self._now(welcome(self._hub, current, self._follows))
        self._state = "live"
        for stream, follow in opened.items():
            self._send_first(stream, follow)
        held, self._held = self._held, []
        for out in held:
            self._socket.send(out)
        self._hub.seat(self, self._session, self._client)

    # -- streams ---------------------------------------------------------------------------------------------------

    def open(self, stream: str) -> None:
        """Give the client a stream that it may see from now on."""
        if stream not in self._follows and self._state in ("joining", "live"):
            self._following.open(stream)

    def refresh(self) -> None:
        """Ask for role and streams anew and show everything again: what the client has may not be what it may have."""
        if self._state in ("joining", "live"):
            self._ask_to_join()

    def lacks(self, stream: str) -> None:
        """Learn that what the client lacks of a stream can't be told: it gets nothing more of it until it is shown anew."""
        if stream in self._follows:
            self._follows[stream] = Follow()
        self.refresh()

    def take_role(self, role: Role) -> None:
        """Look with the eyes of another role from now on; `refresh` follows. What was asked with the old ones is not shown."""
        self._look_as(role)
        self._following.disregard(opened_too=self._state == "joining")

    def pause(self, paused: bool) -> None:
        """Learn that the table is paused, or not any more."""
        self._asking.table_paused = paused

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
        if stream == self._stream:
            self._not_joined(why)
        else:
            self.close_stream(stream, "not available")

    def close_stream(self, stream: str, reason: str) -> None:
        """Take a stream away."""
        if not self._following.close(stream):
            return
        if self._state == "live":
            self._now({"t": "gone", "s": stream, "reason": reason})
        else:
            self._welcome_when_open(self._hub.now_s())

    def _opened(self, stream: str, follow: Follow, answer: Opened) -> None:
        if stream == self._stream and self._state == "joining" and follow.asked != NO_POSITION:
            self._following.distrust(stream, answer)
            if self._follows[stream] is not follow:
                return
        now_s = self._hub.now_s()
        follow.take(answer, self.viewer, self.encoding, now_s)
        if self._state == "live":
            self._send_first(stream, follow)
        else:
            self._welcome_when_open(now_s)

    def _send_first(self, stream: str, follow: Follow) -> None:
        first, follow.first = follow.first, []
        for out in first:
            self._socket.send(out)
        follow.given_s = self._hub.now_s()
        self._now({"t": "live", "s": stream, "pos": list(follow.at)})

    def given(self, stream: str) -> tuple[int, int] | None:
        """Return the position up to which the client was given a stream, None while it does not follow it or it opens."""
        follow = self._follows.get(stream)
        return None if follow is None or follow.opening else follow.pos

    def batch(self, frames: BatchFrames) -> None:
        """Take a batch of a stream that the client follows."""
        batch = frames.batch
        follow = self._follows.get(batch.stream)
        if follow is None or follow.opening or frames.end <= follow.pos:
            return
        epoch, seq = follow.pos
        if batch.epoch == epoch and batch.first <= seq:
            out = frames.frame_after(self.viewer, self.encoding, seq)
        else:
            out = frames.frame(self.viewer, self.encoding)
        follow.pos = frames.end
        follow.given_s = self._hub.now_s()
        self._send(out)
        self._hub.metrics.events_delivered += frames.count

    def pass_on(self, stream: str, out: Encoded) -> None:
        """Pass a frame about a stream that has no position."""
        follow = self._follows.get(stream)
        if follow is not None and not follow.opening and self._state == "live":
            self._socket.send(out)

    def _heartbeat(self, frame: JsonObject) -> None:
        # Before the welcome nothing was given, so nothing can be lacking.
        positions = self._following.catch_up(frame.get("pos"), self._heard_s) if self._state == "live" else {}
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
        self._following.close_all()
        self._hub.gone(self, self._session, self._client)
