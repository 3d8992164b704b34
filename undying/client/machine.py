"""The client's side of the protocol as a machine without sockets, clock or tasks.

    idle ──start──▶ opening ──connected──▶ greeting ──hello──▶ joining ──welcome──▶ joined
                       ▲                      │ broke, hung, or asked to move          │
                       └────── timer ────── waiting ◀──────────────────────────────────┘
    any ── leave, a close code that says stop, another protocol version, or not live longer than allowed ──▶ ended

Inputs are methods; each takes the time in seconds (any steady clock) and returns the `Output`s to carry out, in order.
`next_timer()` says when `tick` wants to be called. After `Ended` every input returns nothing.

Invariants:

- Every event of a stream is handed on once, in order; a gap is asked about and, if it stays, leads to a new connection.
- Every op that was taken is settled once or named in `Ended`; until then each new connection sends it again, same id.
- At most one connection is open or being opened: `Open` follows only after the one before was shut or reported lost.
- A frame that has not the shape the protocol gives it ends the connection, and nothing of it is believed.
"""

from __future__ import annotations

import random
from typing import Final, Literal

from undying.client import events
from undying.client.events import Status, TableEvent
from undying.client.failures import failure_of_close, recoverable
from undying.client.limits import HB_S_DEFAULT, MAX_FRAME_DEFAULT, Limits
from undying.client.outputs import Ended, Happened, Open, Output, Send, Settled, Shut, StatusChanged
from undying.client.pending import PendingOps
from undying.client.reconnect import Reconnect
from undying.client.streams import Streams
from undying.protocol.closes import Close, next_step
from undying.protocol.data import JsonObject
from undying.protocol.errors import Code, Failure

VERSION: Final = 1
"""Of the protocol."""

Phase = Literal["idle", "opening", "greeting", "joining", "joined", "waiting", "ended"]


class Machine:
    """One client at one table. `token` is what the table's owner gave; `name` and `version` say which program this is."""

    def __init__(
        self, token: str, rng: random.Random, *, name: str = "undying", version: str = "", limits: Limits | None = None
    ) -> None:
        self._token = token
        self._client: JsonObject = {"name": name, "version": version}
        self._limits = limits or Limits()
        self._rng = rng
        self._pending = PendingOps(rng, limit=self._limits.pending, tries_max=self._limits.tries)
        self._reconnect = Reconnect(rng)
        self.streams = Streams()
        self.phase: Phase = "idle"
        self.status: Status = "connecting"
        self.session = ""
        """Name of the session's stream, known from the first welcome on; so are the next three."""
        self.user = ""
        self.name = ""
        self.role = ""
        self.max_frame = MAX_FRAME_DEFAULT
        """Bytes that a frame to the server may have."""
        self._resume_token: str | None = None
        self._tried_resume = False
        self._hb_s = HB_S_DEFAULT
        self._url: str | None = None
        self._said: Failure | None = None
        """The error that the server named in the frame before; if the connection ends now, it is the reason."""
        self._reason = ""
        """Why the latest connection ended, or could not be opened."""
        self._been_live = False
        self._away_since_s = 0.0
        """When the status was last `live`; until it first was, when the machine was started."""
        # Timers, None when off.
        self._step_by: float | None = None
        self._open_at: float | None = None
        self._move_at: float | None = None
        self._hb_at: float | None = None
        self._silent_at: float | None = None
        self._gaps: dict[str, float] = {}
        self._ask_again = False

    # ── inputs ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def start(self, now: float) -> list[Output]:
        """Begin: ask for the first connection. Does nothing when begun already."""
        if self.phase != "idle":
            return []
        self._away_since_s = now
        return self._open(now)

    def connected(self, now: float) -> list[Output]:
        """Take note that the connection asked for is open."""
        if self.phase == "opening":
            self._enter("greeting", now)
            self._silent_at = now + 2 * self._hb_s
        return []

    def disconnected(self, code: int | None, reason: str, now: float) -> list[Output]:
        """Take note that the connection ended with a close code (None: it broke, or could not be opened)."""
        if self.phase not in ("opening", "greeting", "joining", "joined"):
            return []
        self._reason = reason
        step = next_step(code)
        if step == "stop" and code is not None:
            return self._refused(code, reason, now)
        if step == "rejoin":
            self.streams.forget_positions()
            if code == Close.RESUME_REFUSED:
                self._resume_token = None
        return self._wait(now, slow=step == "backoff", at=self._move_at)

    def received(self, frame: JsonObject, now: float) -> list[Output]:
        """Take a frame. One that is malformed, or comes when it can't, breaks the connection."""
        if self.phase not in ("greeting", "joining", "joined"):
            return []
        self._silent_at, self._said = now + 2 * self._hb_s, None
        try:
            return self._frame(str(frame["t"]), frame, now)
        except (KeyError, TypeError, ValueError, AttributeError):
            return [Shut(), *self._wait(now, slow=True)]

    def ask(self, frame: JsonObject, now: float) -> list[Output]:
        """Take an op's frame (`t`, `id`, `s`, `k`, `d`). Raises OpRefused OVERLOADED when too many wait already."""
        if self.phase == "ended":
            return []
        self._pending.add(frame)
        return self._send_ops(now)

    def give_up(self, op_id: str) -> None:
        """Take note that nobody waits for an op's answer any more."""
        self._pending.give_up(op_id)

    def signal(self, stream: str, kind: str, data: JsonObject) -> list[Output]:
        """Send something for now only; dropped while not connected."""
        return [Send({"t": "eph", "s": stream, "k": kind, "d": data})] if self.phase == "joined" else []

    def leave(self) -> list[Output]:
        """Go, for good."""
        if self.phase == "ended":
            return []
        farewell: list[Output] = [Send({"t": "leave"})] if self.phase == "joined" else []
        return [*farewell, *self._end(None)]

    def tick(self, now: float) -> list[Output]:
        """Do what is due."""
        if self.phase == "ended":
            return []
        if _due(self._given_up_by(), now):
            facts: JsonObject = {"last": self._reason} if self._reason else {}
            return self._end(Failure(Code.WEBSOCKET_DISCONNECTED, "the table did not become live in time", facts))
        if _due(self._open_at, now):
            return self._open(now)
        if _due(self._step_by, now) or _due(self._silent_at, now):
            return [Shut(), *self._wait(now)]
        if _due(self._move_at, now):
            self._move_at = None
            return [Shut(), *self._interrupted(now), *self._open(now)]
        overdue = [stream for stream, by in self._gaps.items() if by <= now]
        if overdue:
            for stream in overdue:
                self.streams.mark_hole(stream)
            return [Shut(), *self._wait(now)]
        out: list[Output] = []
        if _due(self._hb_at, now):
            self._hb_at = now + self._hb_s
            out.append(self._heartbeat(now))
        return [*out, *self._send_ops(now)]

    def next_timer(self) -> float | None:
        """Return when `tick` is to be called, None when nothing waits for time to pass."""
        if self.phase == "ended":
            return None
        retry = self._pending.next_due() if self.phase == "joined" else None
        timers = (self._open_at, self._step_by, self._silent_at, self._move_at, self._hb_at, self._given_up_by(), retry)
        return min((at for at in (*timers, *self._gaps.values()) if at is not None), default=None)

    # ── frames ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _frame(self, kind: str, frame: JsonObject, now: float) -> list[Output]:
        match self.phase, kind:
            case "greeting", "hello":
                return self._hello(frame, now)
            case "joining", "welcome":
                return self._welcome(frame, now)
            case "joined", "ev":
                return self._events(frame, now)
            case "joined", "ack":
                return self._ack(frame, now)
            case "joined", "snapshot":
                event = self.streams.snapshot(frame)
                self._gaps.pop(event.stream, None)
                return self._heard([event])
            case "joined", "live":
                behind = not self.streams.caught_up(frame)
                return self._gap(str(frame["s"]), now) if behind else self._show_status(now)
            case "joined", "gone":
                self._gaps.pop(str(frame["s"]), None)
                return [*self._heard(self.streams.gone(frame)), *self._show_status(now)]
            case "joined", "presence":
                return [Happened(TableEvent(str(frame["s"]), events.PRESENCE, {"users": frame["users"]}))]
            case "joined", "eph":
                data: JsonObject = {"kind": frame["k"], "data": frame.get("d")}
                return [Happened(TableEvent(str(frame["s"]), events.EPHEMERAL, data, str(frame.get("by", ""))))]
            case "joined", "hb_ok":
                return self._answered(now)
            case _, "notice":
                return self._notice(frame)
            case _, "reconnect":
                return self._planned(frame, now)
        return []  # what is unknown comes from a later version

    def _hello(self, frame: JsonObject, now: float) -> list[Output]:
        if frame.get("v", VERSION) != VERSION:
            spoken: JsonObject = {"server": frame["v"], "client": VERSION}
            return self._end(Failure(Code.VERSION_NOT_SUPPORTED, "the server speaks another version of the protocol", spoken))
        hb_ms, max_frame = frame.get("hb_ms"), frame.get("max_frame")
        if isinstance(hb_ms, int) and hb_ms > 0:
            self._hb_s = hb_ms / 1000
        if isinstance(max_frame, int) and max_frame > 0:
            self.max_frame = max_frame
        self._silent_at = now + 2 * self._hb_s
        self._enter("joining", now)
        self._tried_resume = self._resume_token is not None
        join: JsonObject = {"t": "join", "token": self._resume_token or self._token, "client": self._client}
        positions = self.streams.positions()
        if positions:
            join["resume"] = positions
        return [Send(join)]

    def _welcome(self, frame: JsonObject, now: float) -> list[Output]:
        session, streams, resume_token = str(frame["session"]), frame["streams"], frame.get("resume_token")
        if not isinstance(streams, dict):
            raise TypeError("a welcome's streams are a map")
        gone = self.streams.welcome(streams)
        self.session = session if ":" in session else f"session:{session}"
        self.user, self.name, self.role = (str(frame.get(key, "")) for key in ("user", "name", "role"))
        self._resume_token = resume_token if isinstance(resume_token, str) else None
        self.phase, self._step_by = "joined", None
        self._hb_at = now + self._hb_s
        self._reconnect.joined(now)
        self._pending.rewind()
        return [*self._heard(gone), *self._send_ops(now), *self._show_status(now)]

    def _events(self, frame: JsonObject, now: float) -> list[Output]:
        stream = str(frame["s"])
        before = self.streams.position(stream)
        fresh, gap = self.streams.events(frame)
        if self.streams.position(stream) != before:
            self._gaps.pop(stream, None)
        asked = self._gap(stream, now) if gap else []
        return [*self._heard(fresh), *asked, *self._show_status(now)]

    def _answered(self, now: float) -> list[Output]:
        """Ask once more for what is missing: a server may know only at the second heartbeat that it was lost, not late."""
        again, self._ask_again = self._ask_again and bool(self._gaps), False
        return [self._heartbeat(now)] if again else []

    def _ack(self, frame: JsonObject, now: float) -> list[Output]:
        op_id = str(frame["id"])
        if frame["ok"]:
            result = frame.get("d")
            answer = Settled(op_id, result if isinstance(result, dict) else {})
            return [*([answer] if self._pending.settle(op_id) else []), *self._send_ops(now)]
        failure = Failure.from_wire(frame["error"])
        if recoverable(frame["error"], failure) and self._pending.refuse(op_id, failure, now):
            return []
        refusal = Settled(op_id, {}, failure, self._pending.outcome_unknown(op_id, failure))
        return [*([refusal] if self._pending.settle(op_id) else []), *self._send_ops(now)]

    def _notice(self, frame: JsonObject) -> list[Output]:
        data: JsonObject = {key: frame[key] for key in ("error", "feature") if key in frame}
        if "error" in frame:
            self._said = Failure.from_wire(frame["error"])
        return [Happened(TableEvent(self.session, events.NOTICE, data))]

    def _planned(self, frame: JsonObject, now: float) -> list[Output]:
        after_ms, url = frame.get("after_ms"), frame.get("url")
        self._url = url if isinstance(url, str) else None
        # Somewhere in the time given, so that a server's clients do not all come to the next one at once.
        spread_s = after_ms / 1000 if isinstance(after_ms, int) and after_ms > 0 else 0.0
        self._move_at = now + self._rng.uniform(0.0, spread_s)
        return []

    # ── what follows ────────────────────────────────────────────────────────────────────────────────────────────────

    def _heard(self, fresh: list[TableEvent]) -> list[Output]:
        for event in fresh:
            self.role = events.role_told(event, self.user) or self.role
        return [Happened(event) for event in fresh]

    def _send_ops(self, now: float) -> list[Output]:
        return [Send(frame) for frame in self._pending.sendable(now)] if self.phase == "joined" else []

    def _gap(self, stream: str, now: float) -> list[Output]:
        if stream in self._gaps or stream not in self.streams:
            return []
        self._gaps[stream] = now + self._limits.gap_s
        self._ask_again = True
        return [self._heartbeat(now)]  # it tells the server where we stand, and the server sends what we lack

    def _heartbeat(self, now: float) -> Send:
        return Send({"t": "hb", "pos": dict(self.streams.positions()), "time": int(now * 1000)})

    def _show_status(self, now: float) -> list[Output]:
        status: Status = "reconnecting" if self._been_live else "connecting"
        if self.phase == "joined" and self.streams.live(self.session):
            status = "live"
        if status == self.status:
            return []
        if self.status == "live":
            self._away_since_s = now
        self._been_live |= status == "live"
        self.status = status
        return [StatusChanged(status)]

    def _enter(self, phase: Phase, now: float) -> None:
        self.phase, self._step_by = phase, now + self._limits.step_s

    def _open(self, now: float) -> list[Output]:
        self._open_at = None
        self._enter("opening", now)
        url, self._url = self._url, None
        return [Open(url)]

    def _interrupted(self, now: float) -> list[Output]:
        """Put away all that belonged to the connection that is no more."""
        if self.phase == "joined":
            self._reconnect.lost(now)
        self._step_by = self._hb_at = self._silent_at = self._move_at = None
        self._gaps.clear()
        self.streams.interrupt()
        self.phase = "waiting"
        return self._show_status(now)

    def _wait(self, now: float, *, slow: bool = False, at: float | None = None) -> list[Output]:
        changed = self._interrupted(now)
        self._open_at = now + self._reconnect.delay(slow=slow) if at is None else max(now, at)
        return changed

    def _refused(self, code: int, reason: str, now: float) -> list[Output]:
        """Stop; unless only the resume token was refused and the first token may still be good."""
        if code == Close.NOT_AUTHENTICATED and self.phase == "joining" and self._tried_resume:
            self._resume_token = None
            return self._wait(now)
        return self._end(self._said or failure_of_close(code, reason))

    def _end(self, failure: Failure | None) -> list[Output]:
        shut: list[Output] = [] if self.phase in ("idle", "waiting") else [Shut()]
        self.phase, self.status = "ended", "closed"
        return [*shut, StatusChanged("closed"), Ended(failure, tuple(self._pending.clear()))]

    def _given_up_by(self) -> float | None:
        if self.phase in ("idle", "ended") or self.status == "live":
            return None
        patience_s = self._limits.away_s if self._been_live else self._limits.first_s
        return None if patience_s is None else self._away_since_s + patience_s


def _due(timer: float | None, now: float) -> bool:
    return timer is not None and timer <= now
