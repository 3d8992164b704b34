"""What gateway and host say to each other over the Link port.

Both directions carry lists of items; an item is a named tuple whose first field is its tag, so MessagePack writes it as a
short list. `ref` is a number that the gateway gives to what it asks and the host gives back with the answer. Items from a
gateway are taken in their order; what a host sends is numbered, so that a gateway can put it in order again.

Rules both sides rely on:

- Every `Acked` is sent after the journal write that holds it returned, and after the `Batch` with its events.
- For one stream, what a host sends to one gateway is in the stream's order: an `Opened` with position p comes after every
  batch up to p and before every batch after p.
- `Failed` means: not done, or not known whether done. The gateway sends the same op again (same id), where the locator
  says the stream lives now. Dedup makes that safe.
"""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple, TypeAlias, cast

import msgpack

from undying.protocol.data import JsonObject

NO_POSITION: Final = (-1, -1)


class OpItem(NamedTuple):
    """A client's op. `at` is the client's ms or 0, `base` the position it had seen or NO_POSITION."""

    tag: Literal["op"]
    ref: int
    stream: str
    user: str
    role: str
    id: str
    kind: str
    args: JsonObject
    at: int = 0
    base: tuple[int, int] = NO_POSITION


class JoinItem(NamedTuple):
    """A member comes to a session's table. `issued` is when they were invited, in ms since 1970."""

    tag: Literal["join"]
    ref: int
    stream: str
    id: str
    user: str
    role: str
    name: str
    issued: int


class OpenItem(NamedTuple):
    """A viewer wants to follow a stream from `pos` (NO_POSITION: from a snapshot). Also subscribes the gateway to it."""

    tag: Literal["open"]
    ref: int
    stream: str
    user: str
    role: str
    pos: tuple[int, int]


class SubscribeItem(NamedTuple):
    """The gateway follows a stream from `pos` on: it gets what it lacks and then every batch. Sent after a host's death."""

    tag: Literal["sub"]
    ref: int
    stream: str
    pos: tuple[int, int]


class UnsubscribeItem(NamedTuple):
    """The gateway has no one left who follows the stream."""

    tag: Literal["unsub"]
    stream: str


class PresenceItem(NamedTuple):
    """Who of a session's members is at this gateway: `[user, name, role, state]` each. Replaces what it said before."""

    tag: Literal["presence"]
    stream: str
    users: list[tuple[str, str, str, str]]


class EphemeralItem(NamedTuple):
    """Something for now only, to every gateway that follows the stream."""

    tag: Literal["eph"]
    stream: str
    kind: str
    data: JsonObject
    by: str


ToHost: TypeAlias = OpItem | JoinItem | OpenItem | SubscribeItem | UnsubscribeItem | PresenceItem | EphemeralItem


class Acked(NamedTuple):
    """The answer to an op or a join. `error` is an error object or None; `pos` NO_POSITION when nothing happened."""

    tag: Literal["ack"]
    ref: int
    pos: tuple[int, int]
    result: JsonObject | None
    error: JsonObject | None
    dup: bool


class Failed(NamedTuple):
    """No answer: `moved` ask the locator again, `store` the store can't be written now. Send again."""

    tag: Literal["fail"]
    ref: int
    reason: Literal["moved", "store"]


class Batch(NamedTuple):
    """Events `first`..`last` of one epoch, in `body` (MessagePack list of entry maps, see `events`).

    `public` says that every viewer gets exactly `body`. `first` is 0 for a claim; then `prev` is the position it follows.
    `effects` (see `effects`) are for the gateway, MessagePack too, empty when there are none.
    """

    tag: Literal["ev"]
    stream: str
    epoch: int
    first: int
    last: int
    public: bool
    body: bytes
    effects: bytes


class Opened(NamedTuple):
    """The answer to `OpenItem`. `state` is the projected snapshot (MessagePack) for mode `snapshot`, else empty.

    For mode `replay` `batches` holds what came after the asked position, up to `pos`.
    """

    tag: Literal["opened"]
    ref: int
    stream: str
    mode: Literal["live", "replay", "snapshot"]
    pos: tuple[int, int]
    state: bytes
    batches: list[Batch]
    reason: str


class Subscribed(NamedTuple):
    """The answer to `SubscribeItem`: what the gateway lacked, or `gap` when that can't be told any more."""

    tag: Literal["subd"]
    ref: int
    stream: str
    gap: bool
    pos: tuple[int, int]
    batches: list[Batch]


class Lost(NamedTuple):
    """The host does not follow the stream any more (`moved`) or threw its state away (`store`): subscribe again."""

    tag: Literal["lost"]
    stream: str
    reason: Literal["moved", "store"]


class PresenceNow(NamedTuple):
    """Everybody who is at a session's table, at any gateway."""

    tag: Literal["present"]
    stream: str
    users: list[tuple[str, str, str, str]]


class Ephemeral(NamedTuple):
    """What an `EphemeralItem` said, for the clients of the gateway that gets this."""

    tag: Literal["ephd"]
    stream: str
    kind: str
    data: JsonObject
    by: str


ToGateway: TypeAlias = Acked | Failed | Batch | Opened | Subscribed | Lost | PresenceNow | Ephemeral

_ITEMS: Final[dict[str, type[ToHost]]] = {
    "op": OpItem,
    "join": JoinItem,
    "open": OpenItem,
    "sub": SubscribeItem,
    "unsub": UnsubscribeItem,
    "presence": PresenceItem,
    "eph": EphemeralItem,
}
_MESSAGES: Final[dict[str, type[ToGateway]]] = {
    "ack": Acked,
    "fail": Failed,
    "ev": Batch,
    "opened": Opened,
    "subd": Subscribed,
    "lost": Lost,
    "present": PresenceNow,
    "ephd": Ephemeral,
}


def pack_items(items: list[ToHost]) -> bytes:
    """Encode what a gateway sends."""
    return cast(bytes, msgpack.packb(items))


def unpack_items(data: bytes) -> list[ToHost]:
    """Decode what a gateway sent. Gateways are trusted: a shape that is wrong is a defect and raises."""
    return [_ITEMS[item[0]](*item) for item in msgpack.unpackb(data, use_list=False, strict_map_key=False)]


def pack_messages(messages: list[ToGateway]) -> bytes:
    """Encode what a host sends."""
    return cast(bytes, msgpack.packb(messages))


def unpack_messages(data: bytes) -> list[ToGateway]:
    """Decode what a host sent."""
    return [_message(raw) for raw in msgpack.unpackb(data, strict_map_key=False)]


def _message(raw: list[Any]) -> ToGateway:
    kind = _MESSAGES[raw[0]]
    if kind is Opened:
        raw[4] = tuple(raw[4])
        raw[6] = [Batch(*batch) for batch in raw[6]]
    elif kind is Subscribed:
        raw[4] = tuple(raw[4])
        raw[5] = [Batch(*batch) for batch in raw[5]]
    return kind(*raw)
