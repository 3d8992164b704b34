"""The client's bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

HB_S_DEFAULT: Final = 25.0
"""Seconds between heartbeats until a server's `hello` has said otherwise."""

MAX_FRAME_DEFAULT: Final = 64 * 1024
"""Bytes that a frame to the server may have until its `hello` has said otherwise."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one client, times in seconds; what happens at each bound stands beside it.

    `pending`: ops without an answer; one more is refused with OVERLOADED. `tries`: how often an op is tried that gets
    recoverable refusals; then the last one is the answer, or OutcomeUnknown when a try may have been done. `first_s`: how
    long it may take in all until the table is live for the first time, `away_s`: how long it may later be not live (None: for
    ever); then the table ends with WEBSOCKET_DISCONNECTED.
    `step_s`: how long each of opening, hello and welcome may take, `gap_s`: how long the server has to send missing
    events; then a new connection is made. `queue`: events that wait for one subscriber; then `table.lagged`.
    """

    pending: int = 256
    tries: int = 12
    first_s: float | None = 30.0
    away_s: float | None = None
    step_s: float = 15.0
    gap_s: float = 5.0
    queue: int = 4096
