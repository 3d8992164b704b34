"""Where the client stands in each stream: every event once, in order, and a hole is noticed.

Sans-I/O. A stream is followed from a snapshot or from a position that the client already had; from there the next event
is the one numbered one higher, a skip (events that this viewer may not see) counted like the events it stands for, or
the claim of a later epoch whose `prev` is exactly where the client stands. What is at or before the position was
already heard and is dropped. Anything else is a gap: nothing after it is let through until it is filled.

Frames are the server's; one without the shape that the protocol gives it raises KeyError, TypeError or ValueError, and
nothing of it is taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from undying.client.events import CLAIMED, GONE, SNAPSHOT, TableEvent
from undying.protocol.data import Json, JsonObject
from undying.protocol.position import Position, parse_position


@dataclass(slots=True)
class _Follow:
    """One stream. `position` None: a snapshot is on its way. `hole_at`: the last position at which events were missing.

    `live_at`: the server said `live` at a position that we had not reached; we are live when we have.
    """

    position: Position | None = None
    live: bool = False
    live_at: Position | None = None
    hole_at: Position | None = None


class Streams:
    """All streams that the client follows."""

    def __init__(self) -> None:
        self._follows: dict[str, _Follow] = {}

    def __contains__(self, stream: str) -> bool:
        return stream in self._follows

    def positions(self) -> dict[str, Json]:
        """Return where the client stands, as `hb` and `join` carry it; streams that wait for a snapshot are not in it."""
        return {s: [*follow.position] for s, follow in self._follows.items() if follow.position is not None}

    def position(self, stream: str) -> Position | None:
        """Return where the client stands in a stream, None when it does not follow it or waits for its snapshot."""
        follow = self._follows.get(stream)
        return follow.position if follow else None

    def live(self, stream: str) -> bool:
        """Tell whether what the client has of a stream is up to date."""
        follow = self._follows.get(stream)
        return follow is not None and follow.live

    def all_live(self) -> bool:
        """Tell whether the client is up to date with every stream."""
        return all(follow.live for follow in self._follows.values())

    def interrupt(self) -> None:
        """Take note that the connection ended: nothing is live until the server says so again."""
        for follow in self._follows.values():
            follow.live, follow.live_at = False, None

    def forget_positions(self) -> None:
        """Make the next join ask for snapshots."""
        for follow in self._follows.values():
            follow.position = None

    def welcome(self, streams: Mapping[str, object]) -> list[TableEvent]:
        """Take the streams of a `welcome`; what it does not name any more is gone."""
        modes = {stream: cast("dict[str, object]", told)["mode"] for stream, told in streams.items()}
        gone = [stream for stream in self._follows if stream not in modes]
        for stream in gone:
            del self._follows[stream]
        for stream, mode in modes.items():
            follow = self._follows.setdefault(stream, _Follow())
            if mode == "snapshot":
                follow.position = None
            follow.live = mode == "live" and follow.position is not None
        return [TableEvent(stream, GONE, {"reason": "not at this table any more"}) for stream in gone]

    def snapshot(self, frame: JsonObject) -> TableEvent:
        """Take a snapshot; a stream that is new starts with it."""
        stream, position, state = _stream(frame), _position(frame["pos"]), frame["state"]
        if not isinstance(state, dict):
            raise TypeError("a snapshot's state is a map")
        follow = self._follows.setdefault(stream, _Follow())
        follow.position, follow.hole_at = position, None
        _settle_live(follow)
        return TableEvent(stream, SNAPSHOT, state, position=position)

    def caught_up(self, frame: JsonObject) -> bool:
        """Take a `live` frame. Returns False when the client lacks events that the frame says it was sent."""
        follow = self._follows.get(_stream(frame))
        if follow is None:
            return True
        follow.live_at = _position(frame["pos"])
        return _settle_live(follow)

    def gone(self, frame: JsonObject) -> list[TableEvent]:
        """Take the end of a stream."""
        stream = _stream(frame)
        if self._follows.pop(stream, None) is None:
            return []
        return [TableEvent(stream, GONE, {"reason": frame.get("reason", "")})]

    def events(self, frame: JsonObject) -> tuple[list[TableEvent], bool]:
        """Take an `ev` frame. Returns what is new, in order, and whether events are missing after it."""
        stream, epoch, items = _stream(frame), _whole(frame["e"]), frame["b"]
        follow = self._follows.get(stream)
        if follow is None or follow.position is None:
            return [], False
        fresh: list[TableEvent] = []
        here, gap = follow.position, False
        for item in cast("list[JsonObject]", items):
            then = _step(here, epoch, item)
            if then is None:
                gap = True
                break
            if then != here and "skip" not in item:
                fresh.append(_event(stream, then, item))
            here = then
        follow.position = here
        _settle_live(follow)
        return fresh, gap

    def mark_hole(self, stream: str) -> None:
        """Take note that a gap was not filled. The second time at the same position, a snapshot is to fill it."""
        follow = self._follows[stream]
        if follow.hole_at == follow.position:
            follow.position = None
        follow.hole_at = follow.position


def _settle_live(follow: _Follow) -> bool:
    """Become live when the position that the server called live is reached. Returns False while it is not."""
    if follow.live_at is None:
        return True
    if follow.position is None or follow.position < follow.live_at:
        return False
    follow.live, follow.live_at = True, None
    return True


def _step(here: Position, epoch: int, item: JsonObject) -> Position | None:
    """Return where an item leads from `here`: `here` itself when it is old, None when something is missing before it."""
    first = _whole(item["n"])
    last = first + _whole(item["skip"]) - 1 if "skip" in item else first
    there = Position(epoch, last)
    if there <= here:
        return here
    if epoch == here.epoch:
        return there if first <= here.seq + 1 else None
    if first == 0 and item.get("k") == CLAIMED:
        data = item["d"]
        prev = parse_position(data.get("prev")) if isinstance(data, dict) else None
        return there if prev == here else None
    return None


def _event(stream: str, position: Position, item: JsonObject) -> TableEvent:
    data = item.get("d")
    by, at = item.get("by", ""), item.get("at", 0)
    return TableEvent(
        stream, str(item["k"]), data if isinstance(data, dict) else {}, str(by), at if isinstance(at, int) else 0, position
    )


def _stream(frame: JsonObject) -> str:
    stream = frame["s"]
    if not isinstance(stream, str):
        raise TypeError("a stream's name is a string")
    return stream


def _position(value: object) -> Position:
    position = parse_position(value)
    if position is None:
        raise ValueError("a position is two whole numbers")
    return position


def _whole(value: object) -> int:
    if type(value) is not int:
        raise TypeError("events are numbered with whole numbers")
    return value
