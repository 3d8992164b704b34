"""Who of one stream is at this gateway, as the stream's host is told, and who follows it anywhere, as the host told.

The host passes on all that it is told to every gateway, and each to every client: at a table of a hundred, one who comes
costs a hundred long frames. So it is told only what changed, and at most once in `ANNOUNCE_S`; what comes in between waits
for the end of that time and goes together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

ANNOUNCE_S: Final = 0.1

Row: TypeAlias = tuple[str, str, str, str]
"""User, name, role, state."""


class Presence:
    """One stream's. `here` looks who is at this gateway, `tell` tells the host."""

    def __init__(self, here: Callable[[], Iterable[Row]], tell: Callable[[list[Row]], None]) -> None:
        self.heard: list[Row] | None = None
        """Everybody, at any gateway, as the host said last; None before it did. A user at two gateways is in it twice."""
        self._here = here
        self._tell = tell
        self._told: dict[str, Row] | None = {}
        self._next: asyncio.TimerHandle | None = None

    def changed(self) -> None:
        """Tell the host if what it knows is not so any more: at once, or at the end of the time since it was last told."""
        if self._next is not None:
            return
        rows = {row[0]: row for row in self._here()}
        if rows != self._told:
            self._told = rows
            self._tell(list(rows.values()))
            self._next = asyncio.get_running_loop().call_later(ANNOUNCE_S, self._again)

    def host_changed(self) -> None:
        """Take note that another host, or another life of the stream, may know nothing of what was told."""
        if self._told:
            self._told = None
        self.changed()

    def stop(self) -> None:
        """Tell nothing more."""
        if self._next is not None:
            self._next.cancel()

    def users(self) -> int:
        """Return how many users there are, at any gateway; before the host said so, at this one."""
        return len({row[0] for row in (self._here() if self.heard is None else self.heard)})

    def _again(self) -> None:
        self._next = None
        self.changed()
