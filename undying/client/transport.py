"""What the client asks of whatever carries its frames: a socket, or, in a simulation, the server itself.

A transport carries whole messages in order, both ways, until it is lost. It knows nothing of frames.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias


class ConnectionLost(Exception):
    """The connection ended, or could not be opened. `code` is the WebSocket close code, None when there was none."""

    def __init__(self, code: int | None, reason: str) -> None:
        super().__init__(f"{code}: {reason}" if code is not None else reason)
        self.code = code
        self.reason = reason


class Transport(Protocol):
    """One open connection. `send` and `receive` may be under way at the same time, each once."""

    async def send(self, data: bytes) -> None:
        """Send one message; waits while the other side reads too slowly. May raise ConnectionLost."""
        ...

    async def receive(self) -> bytes | str:
        """Return the next message. Raises ConnectionLost when there will be none."""
        ...

    async def close(self) -> None:
        """Close in order, as far as that takes no more than a few seconds. Never raises ConnectionLost."""
        ...


Dial: TypeAlias = Callable[[str], Awaitable[Transport]]
"""Opens a connection to a server's base url. Raises ConnectionLost when that fails."""
