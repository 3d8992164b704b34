"""How many ops somebody may send: token buckets, pure, the clock an argument.

A bucket holds `burst` tokens and gets `per_s` new ones every second. Whoever finds at least one token is let through
and pays for all they send, if need be on credit; so a batch larger than the burst is possible, and paid for afterwards.
A rate of 0 turns limits off.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

KEYS_MAX: Final = 10_000
"""Buckets that one registry keeps. Past it the one used longest ago is forgotten: its owner starts with a full bucket."""

_SWEEP_EVERY: Final = 1_000


class TokenBucket:
    """One sender's bucket. `clock` gives seconds and never goes back. Raises ValueError for a negative rate or no burst."""

    __slots__ = ("_at", "_burst", "_clock", "_per_s", "_tokens")

    def __init__(self, per_s: float, burst: float, clock: Callable[[], float]) -> None:
        if per_s < 0 or burst < 1:
            raise ValueError("a rate of 0 or more and a burst of 1 or more")
        self._per_s = per_s
        self._burst = burst
        self._clock = clock
        self._tokens = burst
        self._at = clock()

    def take(self, count: int = 1) -> int:
        """Pay for `count` ops: 0 when they may go on, else the ms after which it is worth trying again."""
        if self._per_s == 0:
            return 0
        self._refill()
        if self._tokens < 1:
            return max(1, math.ceil((1 - self._tokens) / self._per_s * 1000))
        self._tokens -= count
        return 0

    @property
    def full(self) -> bool:
        """Tell whether the bucket is as a new one would be."""
        self._refill()
        return self._tokens >= self._burst

    def _refill(self) -> None:
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._per_s)
        self._at = now


class Limits:
    """A bucket for everybody, by the holder of a token or by address. At most `keys_max` buckets; full ones are swept away."""

    def __init__(self, per_s: float, burst: float, clock: Callable[[], float], keys_max: int = KEYS_MAX) -> None:
        self._per_s = per_s
        self._burst = burst
        self._clock = clock
        self._keys_max = keys_max
        self._buckets: dict[str, TokenBucket] = {}
        self._until_sweep = _SWEEP_EVERY
        TokenBucket(per_s, burst, clock)  # refuses a bad setting now and not at the first op

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: str, count: int = 1) -> int:
        """Pay for `count` ops of `key`: 0 when they may go on, else the ms after which it is worth trying again."""
        if self._per_s == 0:
            return 0
        # Taken out and put back: the dict's order is the order of last use.
        bucket = self._buckets.pop(key, None)
        if bucket is None:
            bucket = TokenBucket(self._per_s, self._burst, self._clock)
            self._make_room()
        self._buckets[key] = bucket
        return bucket.take(count)

    def sweep(self) -> None:
        """Forget the buckets that are full again: a new one would be the same."""
        self._buckets = {key: bucket for key, bucket in self._buckets.items() if not bucket.full}
        self._until_sweep = _SWEEP_EVERY

    def _make_room(self) -> None:
        self._until_sweep -= 1
        if self._until_sweep <= 0:
            self.sweep()
        while len(self._buckets) >= self._keys_max:
            del self._buckets[next(iter(self._buckets))]
