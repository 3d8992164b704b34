"""A subscriber's own queue of events: bounded, and never a silent loss."""

from __future__ import annotations

import asyncio
from collections import deque

from undying.client.events import LAGGED, TableEvent
from undying.protocol.errors import UndyingError


class Subscription:
    """Events from the moment it was made, in order, as an async iterator for one reader.

    When `limit` events wait, further ones are dropped; where they would have been, the reader gets one `table.lagged`
    that says how many. The iteration ends when the table was left; it raises Disconnected when the table ended otherwise.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: deque[TableEvent] = deque()
        self._lost = 0
        self._ready = asyncio.Event()
        self._ended = False
        self._failure: UndyingError | None = None

    def push(self, event: TableEvent) -> None:
        """Add an event, or count it as lost."""
        if len(self._waiting) >= self._limit:
            self._lost += 1
            return
        if self._lost:
            self._waiting.append(self._lag())
        self._waiting.append(event)
        self._ready.set()

    def end(self, failure: UndyingError | None) -> None:
        """Let the iteration end after what waits."""
        self._ended, self._failure = True, failure
        self._ready.set()

    def _lag(self) -> TableEvent:
        lost, self._lost = self._lost, 0
        return TableEvent("", LAGGED, {"lost": lost})

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> TableEvent:
        while not self._waiting:
            if self._lost:
                return self._lag()
            if self._ended:
                if self._failure is not None:
                    raise self._failure
                raise StopAsyncIteration
            self._ready.clear()
            await self._ready.wait()
        return self._waiting.popleft()
