"""Keeps the embedded store up: one that ended unasked, or hangs, is started again on the same files at the same address.

    up ─ process gone ─▶ started again          up ─ no answer for `hang_s` ─▶ killed ─▶ started again

The entities, which saw their writes fail, read their journals again. Nobody else could restart it: the tree is Ray's side of
the house. A store that reads a large journal after a start is not up yet, and `start` has its own patience for that.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

import structlog

from persistence.embedded import EmbeddedStoreError

LOOK_S: Final = 0.1
"""Seconds between two looks at whether the store's process lives."""

ASKS: Final = 5
"""Times that a store is asked within `hang_s`."""

RETRY_S: Final = 2.0
"""Seconds between attempts to start a store again that won't."""

_log = structlog.get_logger(__name__)


class Keepable(Protocol):
    """What is kept up, see `persistence.embedded.EmbeddedStore`."""

    @property
    def pid(self) -> int | None:
        """Return the pid of the server while it lives."""
        ...

    async def start(self) -> str:
        """Start the server. Raises EmbeddedStoreError, OSError."""
        ...

    async def answers(self) -> bool:
        """Tell whether it answers."""
        ...

    def kill(self) -> None:
        """End it at once."""
        ...


async def keep_up(store: Keepable, hang_s: float) -> None:
    """Keep a store up that was started, until cancelled."""
    clock = asyncio.get_running_loop().time
    heard_s = asked_s = clock()
    while True:
        await asyncio.sleep(LOOK_S)
        if store.pid is None:
            _log.error("the embedded store ended unasked; starting it again")
            await _start_again(store)
            heard_s = asked_s = clock()
        elif clock() - asked_s >= hang_s / ASKS:
            asked_s = clock()
            if await store.answers():
                heard_s = clock()
            elif asked_s - heard_s >= hang_s:
                _log.error("the embedded store does not answer; it is killed", silent_s=round(asked_s - heard_s, 1))
                store.kill()


async def _start_again(store: Keepable) -> None:
    try:
        await store.start()
        _log.info("store started again", pid=store.pid)
    except (EmbeddedStoreError, OSError) as problem:  # OSError: no memory for a process, a full disk
        _log.critical("the embedded store can't be started again", reason=str(problem))
        await asyncio.sleep(RETRY_S)
