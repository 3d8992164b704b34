"""What all sockets of one gateway share: their bounds, who hears them, who is connected, and the order to go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from gateway.encoded import encode
from gateway.metrics import Metrics
from gateway.ports import Accept, Socket
from undying.protocol.closes import Close
from undying.protocol.errors import Code, Failure

FRAMES_PER_OP: Final = 20
FRAMES_PER_S_MIN: Final = 300


def frames_per_s(ops_per_s: int) -> int:
    """Return how many frames a client may send that may send so many ops: heartbeats, signs of typing and pings besides.

    0 ops: no limit, and so none for frames.
    """
    return max(FRAMES_PER_OP * ops_per_s, FRAMES_PER_S_MIN) if ops_per_s else 0


@dataclass(frozen=True, slots=True)
class SocketSettings:
    """Bounds of every socket: sizes in bytes, times in seconds. `origins` empty: any web page may connect.

    `outbox_cap` is about twice the largest table that rules allow: a session of 2 MiB and a hundred sheets of 128 KiB, all in
    one welcome. `frames_per_s` counts all frames of a client, pings too; 0: no limit.
    """

    frame_max: int = 64 * 1024
    frames_per_s: int = 0
    outbox_max: int = 1024 * 1024
    outbox_cap: int = 32 * 1024 * 1024
    stall_s: float = 5.0
    connections_max: int = 10_000
    close_s: float = 2.0
    origins: tuple[str, ...] = ()


@dataclass(slots=True)
class Sockets:
    """The sockets of a gateway. Invariant: `metrics.connections` counts `open`."""

    settings: SocketSettings
    accept: Accept
    metrics: Metrics
    open: set[Socket] = field(default_factory=set)
    draining: bool = False

    def unwelcome(self) -> Failure | None:
        """Return why nobody can connect now, or None."""
        if self.draining:
            return Failure(Code.DRAINING, "the server goes down; connect again")
        if len(self.open) >= self.settings.connections_max:
            return Failure(Code.OVERLOADED, "the server has as many connections as it may")
        return None

    def add(self, socket: Socket) -> None:
        """Count a socket whose handshake succeeded."""
        self.open.add(socket)
        self.metrics.connections = len(self.open)
        self.metrics.connections_made += 1

    def remove(self, socket: Socket) -> None:
        """Forget a socket; no error when it was not there."""
        self.open.discard(socket)
        self.metrics.connections = len(self.open)

    def drain(self, after_ms: Callable[[], int], reason: str) -> None:
        """Tell everybody to connect again, each after its own `after_ms()`, and end with 4200. New ones get 503."""
        self.draining = True
        for each in list(self.open):
            each.send(encode({"t": "reconnect", "after_ms": after_ms(), "reason": reason}, each.encoding))
            each.close(Close.DRAINING, reason)
