"""Close codes: what the client does next is the hundred that the code is in (PROTOCOL, "Close codes")."""

from __future__ import annotations

from enum import IntEnum
from typing import Literal


class Close(IntEnum):
    """Why the server ended a connection."""

    INVALID_DATA = 1007
    TOO_BIG = 1009
    NOT_AUTHENTICATED = 4001
    PROTOCOL_ERROR = 4002
    FORBIDDEN = 4003
    REPLACED = 4006
    VERSION_NOT_SUPPORTED = 4012
    INTERNAL = 4100
    OVERLOADED = 4101
    RATE_LIMIT = 4108
    DRAINING = 4200
    MOVED = 4201
    HEARTBEAT_MISSED = 4203
    RESUME_REFUSED = 4302
    TOO_SLOW = 4303


NextStep = Literal["stop", "backoff", "resume", "rejoin"]


def next_step(code: int | None) -> NextStep:
    """Tell what a client does after a connection ended with `code` (None: it broke without a word)."""
    if code is None:
        return "resume"
    if 4000 <= code < 4100 or code in (Close.INVALID_DATA, Close.TOO_BIG):
        return "stop"
    if 4100 <= code < 4200:
        return "backoff"
    if 4300 <= code < 4400:
        return "rejoin"
    return "resume"
