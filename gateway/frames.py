"""From what hosts say to frames, encoded once for everybody who gets the same.

A batch of public events goes to every MessagePack socket as the very bytes that are in the journal, with a short prefix.
A restricted batch is decoded once, and encoded once per set of views: two viewers who see the same parts of it share one
frame. A viewer who sees nothing of a run of events gets a skip in its place, so that positions stay contiguous.
"""

from __future__ import annotations

import functools
from typing import Any, cast

import msgpack

from gateway.encoded import Encoded, encode
from undying.protocol.codec import Encoding
from undying.protocol.data import JsonObject
from undying.protocol.events import Viewer, project_all, sees
from undying.protocol.link import Batch


@functools.lru_cache(maxsize=4096)
def _prefix(kind: str, stream: str, pairs: int) -> bytes:
    """Return a map header and the pairs `t` and `s`: the same for every frame of a stream."""
    packer = msgpack.Packer()
    head = packer.pack_map_header(pairs) + packer.pack("t") + packer.pack(kind) + packer.pack("s") + packer.pack(stream)
    return cast(bytes, head)


_EPOCH = cast(bytes, msgpack.packb("e"))
_EVENTS = cast(bytes, msgpack.packb("b"))
_POSITION = cast(bytes, msgpack.packb("pos"))
_STATE = cast(bytes, msgpack.packb("state"))


class BatchFrames:
    """The `ev` frames of one batch, made as they are asked for. `end` is the position that the batch leads to."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.end = (batch.epoch, batch.last)
        self.count = batch.last - batch.first + 1
        self._public: dict[Encoding, Encoded] = {}
        self._made: dict[tuple[Encoding, tuple[int, ...]], Encoded] = {}

    @functools.cached_property
    def _events(self) -> list[dict[str, Any]]:
        return cast("list[dict[str, Any]]", msgpack.unpackb(self.batch.body))

    def frame(self, viewer: Viewer, encoding: Encoding) -> Encoded:
        """Return the frame that the viewer gets."""
        if self.batch.public:
            whole = self._public.get(encoding)
            if whole is None:
                whole = self._public[encoding] = self._make(viewer, encoding)
            return whole
        key = (encoding, self._views(viewer))
        made = self._made.get(key)
        if made is None:
            made = self._made[key] = self._make(viewer, encoding)
        return made

    def frame_after(self, viewer: Viewer, encoding: Encoding, seq: int) -> Encoded:
        """Return the frame with only the events above `seq`: what a resume inside a batch needs."""
        events = [event for event in self._events if event["n"] > seq]
        return self._encode(project_all(events, viewer), encoding)

    def _views(self, viewer: Viewer) -> tuple[int, ...]:
        return tuple(
            next((at for at, view in enumerate(event["v"]) if sees(view[0], viewer)), -1) if "v" in event else 0
            for event in self._events
        )

    def _make(self, viewer: Viewer, encoding: Encoding) -> Encoded:
        if self.batch.public and encoding == "msgpack":
            return Encoded(self._head() + self.batch.body, text=False)
        return self._encode(project_all(self._events, viewer), encoding)

    def _encode(self, events: list[JsonObject], encoding: Encoding) -> Encoded:
        if encoding == "msgpack":
            return Encoded(self._head() + cast(bytes, msgpack.packb(events)), text=False)
        wire: Any = {"t": "ev", "s": self.batch.stream, "e": self.batch.epoch, "b": events}
        return encode(wire, encoding)

    def _head(self) -> bytes:
        return _prefix("ev", self.batch.stream, 4) + _EPOCH + cast(bytes, msgpack.packb(self.batch.epoch)) + _EVENTS


def snapshot_frame(stream: str, position: tuple[int, int], state: bytes, encoding: Encoding) -> Encoded:
    """Return a `snapshot` frame around a state that the host packed."""
    if encoding == "msgpack":
        where = cast(bytes, msgpack.packb(position))
        return Encoded(_prefix("snapshot", stream, 4) + _POSITION + where + _STATE + state, text=False)
    wire: Any = {"t": "snapshot", "s": stream, "pos": list(position), "state": msgpack.unpackb(state)}
    return encode(wire, encoding)
