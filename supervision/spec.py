"""What a supervisor is told about a child: data, checked when it is made, so that a tree that starts makes sense.

After Erlang/OTP's `supervisor`, with one addition: a delay between restarts (`backoff`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from actors.runtime import Program
from supervision.heartbeat import Heartbeat
from undying.resilience.backoff import Backoff


class Restart(StrEnum):
    """When a child that ended is started again."""

    PERMANENT = "permanent"
    """Always."""
    TRANSIENT = "transient"
    """Unless it ended in order."""
    TEMPORARY = "temporary"
    """Never."""


class Strategy(StrEnum):
    """Who is restarted along with a child."""

    ONE_FOR_ONE = "one_for_one"
    """Nobody."""
    ONE_FOR_ALL = "one_for_all"
    """All its siblings."""
    REST_FOR_ONE = "rest_for_one"
    """The siblings that were started after it."""


@dataclass(frozen=True, slots=True)
class Intensity:
    """At most `restarts` within `within_s` seconds; one more is too many. Raises ValueError for what can't be counted."""

    restarts: int = 10
    within_s: float = 60.0

    def __post_init__(self) -> None:
        if self.restarts < 0 or self.within_s <= 0:
            raise ValueError(f"not an intensity: {self}")


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """One child. It may take `start_s` to be up, and `shutdown_s` to stop before it is killed.

    A child that lived for `steady_s` is restarted at once, one that ends again sooner by `backoff`. `kind` is what the status
    calls it. One that is not `needed` starts when its siblings are up, and when it fails nobody but itself is held up by that.
    Raises ValueError when a field makes no sense.
    """

    id: str
    program: Program
    restart: Restart = Restart.PERMANENT
    start_s: float = 60.0
    shutdown_s: float = 10.0
    steady_s: float = 3.0
    intensity: Intensity = field(default_factory=Intensity)
    heartbeat: Heartbeat = field(default_factory=Heartbeat)
    backoff: Backoff = field(default_factory=lambda: Backoff(base_s=0.05, factor=2.0, cap_s=5.0, jitter=0.25))
    kind: str = "supervisor"
    needed: bool = True

    def __post_init__(self) -> None:
        if not self.id or not self.program.name:
            raise ValueError("a child has an id and a program")
        if self.shutdown_s < 0:
            raise ValueError(f"{self.id}: no time to shut down is 0, not {self.shutdown_s}")


@dataclass(frozen=True, slots=True)
class Siblings:
    """The children of one supervisor in the order of their start. Raises ValueError when two have the same id."""

    children: Sequence[ChildSpec]
    strategy: Strategy = Strategy.ONE_FOR_ONE

    def __post_init__(self) -> None:
        ids = [child.id for child in self.children]
        if len(ids) != len(set(ids)):
            raise ValueError(f"two children with one id: {ids}")

    def restarted_with(self, child_id: str) -> tuple[str, ...]:
        """Name the siblings that must go when `child_id` ended, in the order of their start. Raises KeyError."""
        ids = [child.id for child in self.children]
        if child_id not in ids:
            raise KeyError(child_id)
        if self.strategy is Strategy.ONE_FOR_ALL:
            return tuple(other for other in ids if other != child_id)
        if self.strategy is Strategy.REST_FOR_ONE:
            return tuple(ids[ids.index(child_id) + 1 :])
        return ()
