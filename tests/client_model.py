"""A server for client tests: a few dozen lines that keep the promises the client relies on, and nothing else.

It numbers events, opens epochs, knows op ids it has seen, replays from a position or sends a snapshot, and answers a
heartbeat with what the client lacks. One stream, `session:t`; its state is `{texts: [...]}`, the texts said so far.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from undying.protocol.data import Json, JsonObject
from undying.protocol.errors import Code, Failure
from undying.protocol.position import Position, parse_position

STREAM = "session:t"


@dataclass
class Peer:
    """One connection: what the server has sent on it, in order."""

    out: list[JsonObject] = field(default_factory=list)
    joined: bool = False


@dataclass
class ModelServer:
    """See the module. `keeps` says from which index of the log on a resume is possible; before that comes a snapshot."""

    epoch: int = 0
    log: list[tuple[Position, JsonObject]] = field(default_factory=list)
    acks: dict[str, JsonObject] = field(default_factory=dict)
    peers: list[Peer] = field(default_factory=list)
    tokens: set[str] = field(default_factory=lambda: {"join"})
    joins: list[JsonObject] = field(default_factory=list)
    applied: list[str] = field(default_factory=list)
    soft_refusals: dict[str, int] = field(default_factory=dict)
    keeps: int = 0
    mute: bool = False

    def __post_init__(self) -> None:
        self.claim()

    @property
    def position(self) -> Position:
        return self.log[-1][0] if self.log else Position(0, 0)

    def texts(self) -> list[Json]:
        return [item["d"]["text"] for _, item in self.log if item.get("k") == "chat.said"]  # type: ignore[index,call-overload]

    def claim(self) -> None:
        prev = self.position
        self.epoch += 1
        self._append(Position(self.epoch, 0), {"n": 0, "k": "claimed", "d": {"prev": [*prev]}, "by": "@", "at": 1})

    def say(self, text: str) -> Position:
        there = self.position.after(1)
        self._append(there, {"n": there.seq, "k": "chat.said", "d": {"text": text}, "by": "u", "at": 1})
        return there

    def hide(self, events: int) -> None:
        first = self.position.seq + 1
        self._append(self.position.after(events), {"n": first, "skip": events})

    def _append(self, there: Position, item: JsonObject) -> None:
        self.log.append((there, item))
        for peer in self.peers:
            if peer.joined:
                peer.out.append(self._frame(there, item))

    def _frame(self, there: Position, item: JsonObject) -> JsonObject:
        return {"t": "ev", "s": STREAM, "e": there.epoch, "b": [item]}

    def connect(self) -> Peer:
        hello: JsonObject = {"t": "hello", "v": 1, "conn": "c", "hb_ms": 25000, "join_ms": 10000, "max_frame": 65536}
        peer = Peer([hello])
        self.peers.append(peer)
        return peer

    def receive(self, peer: Peer, frame: JsonObject) -> int | None:
        """Take a client's frame. Returns a close code when the server ends the connection over it."""
        if frame["t"] == "join":
            return self._join(peer, frame)
        if frame["t"] == "op":
            peer.out.append(self._op(frame))
        elif frame["t"] == "hb" and not self.mute:
            peer.out.append({"t": "hb_ok", "time": frame["time"]})
            positions = frame["pos"]
            assert isinstance(positions, dict)
            if STREAM in positions:
                peer.out += self._since(parse_position(positions[STREAM]))
        return None

    def _join(self, peer: Peer, frame: JsonObject) -> int | None:
        self.joins.append(frame)
        if frame["token"] not in self.tokens:
            return 4001
        resume_token = f"resume{len(self.joins)}"
        self.tokens.add(resume_token)
        resume = frame.get("resume")
        here = parse_position(resume.get(STREAM)) if isinstance(resume, dict) else None
        known = here is not None and here in [there for there, _ in self.log[self.keeps :]]
        mode = "snapshot" if not known else "live" if here == self.position else "replay"
        welcome: JsonObject = {"t": "welcome", "session": "t", "user": "u", "name": "Una", "role": "gm"}
        streams: JsonObject = {STREAM: {"mode": mode, "pos": [*self.position]}}
        peer.out.append({**welcome, "resume_token": resume_token, "resume_ttl_s": 60, "streams": streams})
        if mode == "snapshot":
            peer.out.append({"t": "snapshot", "s": STREAM, "pos": [*self.position], "state": {"texts": self.texts()}})
        elif mode == "replay":
            peer.out += self._since(here)
        peer.out.append({"t": "live", "s": STREAM, "pos": [*self.position]})
        peer.joined = True
        return None

    def _since(self, here: Position | None) -> list[JsonObject]:
        assert here is not None
        return [self._frame(there, item) for there, item in self.log if there > here]

    def _op(self, frame: JsonObject) -> JsonObject:
        op_id, args = str(frame["id"]), frame["d"]
        assert isinstance(args, dict)
        if op_id in self.acks:
            return {**self.acks[op_id], "dup": True}
        if frame["k"] == "forbidden":
            return _no(op_id, Failure(Code.FORBIDDEN, "no"))
        if self.soft_refusals.get(op_id, 0) > 0 or frame["k"] == "overloaded":
            self.soft_refusals[op_id] = self.soft_refusals.get(op_id, 0) - 1
            return _no(op_id, Failure(Code.OVERLOADED, "soon", after_ms=200))
        self.applied.append(op_id)
        there = self.say(str(args["text"]))
        self.acks[op_id] = {"t": "ack", "id": op_id, "ok": True, "s": STREAM, "pos": [*there], "d": {"n": there.seq}}
        return self.acks[op_id]


def _no(op_id: str, failure: Failure) -> JsonObject:
    return {"t": "ack", "id": op_id, "ok": False, "error": failure.to_wire()}
