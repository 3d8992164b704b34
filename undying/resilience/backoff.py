"""How long to wait before trying again: exponential, capped, jittered.

Pure: the attempt's number and the randomness are arguments, so a test knows every delay and a thousand clients that lost
one server do not come back in one instant.

Laws (property-tested): a delay is never negative and never above `cap_s`; without full jitter it is within `jitter` of
the nominal delay; the nominal delay never shrinks from one attempt to the next.
"""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """A schedule of delays in seconds: `base_s · factorⁿ`, at most `cap_s`, spread by plus or minus `jitter` (a share).

    With `full_jitter` a delay is drawn from all of 0 … nominal instead: more spread, no minimum.
    Raises ValueError when a bound makes no sense.
    """

    base_s: float = 1.0
    factor: float = 2.0
    cap_s: float = 30.0
    jitter: float = 0.25
    full_jitter: bool = False

    def __post_init__(self) -> None:
        if not (self.base_s >= 0.0 and self.factor >= 1.0 and self.cap_s >= 0.0 and 0.0 <= self.jitter <= 1.0):
            raise ValueError(f"not a backoff: {self}")

    def nominal(self, attempt: int) -> float:
        """Return the delay before jitter, in seconds. `attempt` counts from 0; raises ValueError below that."""
        if attempt < 0:
            raise ValueError(f"attempts count from 0, not {attempt}")
        try:
            return min(self.cap_s, self.base_s * self.factor**attempt)
        except OverflowError:
            return self.cap_s if self.base_s else 0.0

    def delay(self, attempt: int, rng: random.Random) -> float:
        """Draw the delay before try number `attempt` + 1, in seconds. Raises ValueError when `attempt` is negative."""
        nominal = self.nominal(attempt)
        if self.full_jitter:
            return rng.uniform(0.0, nominal)
        # The upper end is cut before the draw, not after it, so that delays at the cap stay spread.
        high = min(self.cap_s, nominal * (1.0 + self.jitter))
        return min(high, rng.uniform(nominal * (1.0 - self.jitter), high))
