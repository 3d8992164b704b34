"""What to do when a child has ended: one pure function for every supervisor.

Laws (property-tested): within any window of `within_s` at most `intensity.restarts` restarts are granted; a child that
lived for `steady_s` is started again at once, and only one that ends again and again waits longer and longer; no delay is
above the backoff's cap; a temporary child is never restarted.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TypeAlias

from actors.runtime import Exit
from supervision.history import History
from supervision.spec import ChildSpec, Restart


@dataclass(frozen=True, slots=True)
class RestartAfter:
    """Start it again after so many seconds; 0 is at once."""

    after_s: float


@dataclass(frozen=True, slots=True)
class Escalate:
    """It fails too often: the one above decides."""

    reason: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """It is not to be started again, and that is in order."""

    reason: str


Verdict: TypeAlias = RestartAfter | Escalate | GiveUp


def decide(spec: ChildSpec, history: History, exit_: Exit, now: float, rng: random.Random) -> Verdict:
    """Decide about a child that ended just now. `history` holds its earlier endings, not this one."""
    if spec.restart is Restart.TEMPORARY:
        return GiveUp("temporary")
    if spec.restart is Restart.TRANSIENT and exit_.reason == "stopped":
        return GiveUp("ended in order")
    recent = history.since(now - spec.intensity.within_s)
    if recent >= spec.intensity.restarts:
        return Escalate(
            f"{recent + 1} endings in {spec.intensity.within_s:g} s, the last one: {exit_.reason} {exit_.detail}".strip()
        )
    in_a_row = history.since(now - spec.steady_s)
    return RestartAfter(0.0 if in_a_row == 0 else spec.backoff.delay(in_a_row - 1, rng))
