"""The two frames that a client is met with: `hello` when it connects, `welcome` when it has joined."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from gateway.auth import Grant
from gateway.following import Follow
from undying.protocol.data import JsonObject

if TYPE_CHECKING:
    from gateway.hub import Hub


def hello(hub: Hub, conn_id: str) -> JsonObject:
    """Say who is here, and what a client is held to."""
    settings = hub.settings
    return {
        "t": "hello",
        "v": 1,
        "conn": conn_id,
        "node": settings.node,
        "time": hub.now_ms(),
        "hb_ms": settings.hb_ms,
        "join_ms": settings.join_ms,
        "max_frame": settings.frame_bytes_max,
        "rate": {"ops": settings.rate_per_s, "per_s": 1, "burst": settings.rate_burst},
    }


def welcome(hub: Hub, holder: Grant, streams: Mapping[str, Follow]) -> JsonObject:
    """Say who the client is at this table, with what it can come back, and which streams follow. Signs a resume token."""
    ttl_s = hub.settings.resume_ttl_s
    return {
        "t": "welcome",
        "session": holder.session,
        "user": holder.user,
        "name": holder.name,
        "role": holder.role.value,
        "resume_token": hub.tokens.resume_token(holder, ttl_s),
        "resume_ttl_s": ttl_s,
        "streams": {stream: follow.said() for stream, follow in streams.items()},
    }
