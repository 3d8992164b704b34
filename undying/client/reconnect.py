"""When to connect again.

The first attempt after a loss comes at once, with up to 50 ms of jitter: most losses are one process that died, and the
next one is already there. Further ones back off. A connection that was lost again before it held for `STABLE_S` does not
count as one that worked, so that a server that takes clients in and drops them is not hammered.
"""

from __future__ import annotations

import random
from typing import Final

from undying.resilience.backoff import Backoff

AT_ONCE_S: Final = 0.05
STABLE_S: Final = 5.0
BACKOFF: Final = Backoff(base_s=0.1, factor=2.0, cap_s=5.0)


class Reconnect:
    """The schedule of one client's attempts."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._attempt = 0
        self._joined_s = 0.0

    def joined(self, now: float) -> None:
        """Take note that the server let us in."""
        self._joined_s = now

    def lost(self, now: float) -> None:
        """Take note that a connection that had been let in is gone."""
        if now - self._joined_s >= STABLE_S:
            self._attempt = 0

    def delay(self, *, slow: bool) -> float:
        """Return the delay before the next attempt, in seconds; `slow` when the server asked to back off."""
        attempt, self._attempt = self._attempt, self._attempt + 1
        if attempt == 0 and not slow:
            return self._rng.uniform(0.0, AT_ONCE_S)
        return BACKOFF.delay(max(0, attempt - 1), self._rng)
