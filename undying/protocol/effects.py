"""What a session's events mean to the gateways: who may follow which stream, who has which role, who has to go, and a pause.

Gateways know no rules; a session says with its events what follows from them for connections.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias, cast

import msgpack

from undying.protocol.events import Audience


class OpenStream(NamedTuple):
    """From now on the audience may follow the stream; who is connected gets it unasked."""

    tag: Literal["open"]
    stream: str
    audience: Audience


class CloseStream(NamedTuple):
    """Nobody of this session follows the stream any more."""

    tag: Literal["close"]
    stream: str
    reason: str


class ChangeRole(NamedTuple):
    """The user has this role from now on; every stream is shown to them anew."""

    tag: Literal["role"]
    user: str
    role: str


class Remove(NamedTuple):
    """The user is no member any more; their connections end with 4003."""

    tag: Literal["remove"]
    user: str


class Pause(NamedTuple):
    """From now on only game masters act, also on the table's characters; with `paused` false all do again."""

    tag: Literal["pause"]
    paused: bool


Effect: TypeAlias = OpenStream | CloseStream | ChangeRole | Remove | Pause

_KINDS: dict[str, type[Effect]] = {
    "open": OpenStream,
    "close": CloseStream,
    "role": ChangeRole,
    "remove": Remove,
    "pause": Pause,
}


def pack_effects(effects: Sequence[Effect]) -> bytes:
    """Encode effects; no effects are no bytes."""
    return cast(bytes, msgpack.packb(list(effects))) if effects else b""


def unpack_effects(data: bytes) -> list[Effect]:
    """Decode effects."""
    if not data:
        return []
    return [_KINDS[raw[0]](*raw) for raw in msgpack.unpackb(data, use_list=False)]
