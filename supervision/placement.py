"""Where an entity goes: pure, over what the hosts supervisor knows (DESIGN §4).

1. An entity that has a place keeps it.
2. A suspect (it was on a host that died) never shares with one that is none: it gets a process of its own, and past
   `suspects_max` such processes it shares with other suspects.
3. Below the budget an entity gets a host of its own: one that stands empty, else a spare, else a new process.
4. Past the budget hosts are shared: the one asked for (`near`) if it has room, else the least loaded.
5. When all are full there is no place.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Budget:
    """How much room there is. `hosts_per_node` hosts that hold no suspect; `suspects_max` more for suspects."""

    hosts_per_node: int = 64
    suspects_max: int = 8
    entities_per_host_max: int = 512

    def __post_init__(self) -> None:
        if self.hosts_per_node < 1 or self.suspects_max < 1 or self.entities_per_host_max < 1:
            raise ValueError(f"not a budget: {self}")


@dataclass(frozen=True, slots=True)
class HostView:
    """A host as placement sees it: `load` entities live there; `ward` when it is for suspects."""

    name: str
    node: str
    load: int
    ward: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """Who wants a place: not on the host `avoid`, on `near` when hosts are shared, `suspect` away from the healthy."""

    stream: str
    avoid: str = ""
    near: str = ""
    suspect: bool = False


@dataclass(frozen=True, slots=True)
class UseHost:
    """Live on this host, which runs already."""

    name: str


@dataclass(frozen=True, slots=True)
class TakeSpare:
    """Make this spare a host."""

    name: str


@dataclass(frozen=True, slots=True)
class StartNew:
    """Start a process, or take the next one that comes up, and make it a host."""


@dataclass(frozen=True, slots=True)
class Full:
    """There is no room."""


Place: TypeAlias = UseHost | TakeSpare | StartNew | Full


def place(request: Request, hosts: Sequence[HostView], spares: Sequence[str], coming: int, budget: Budget) -> Place:
    """Choose a place. `coming` hosts are being made of spares right now and count against the budget."""
    empty = [host for host in hosts if host.name != request.avoid and host.load == 0]
    if empty:
        return UseHost(_least_loaded(empty).name)
    able = [host for host in hosts if host.name != request.avoid and host.ward == request.suspect]
    nodes = max(1, len({host.node for host in hosts}))
    limit = budget.suspects_max if request.suspect else budget.hosts_per_node * nodes
    if len(able) + coming < limit:
        return TakeSpare(spares[0]) if spares else StartNew()
    roomy = [host for host in able if host.load < budget.entities_per_host_max]
    if not roomy:
        # The first ones past a small budget may come while its hosts are still being made.
        return StartNew() if not able and coming else Full()
    near = [host for host in roomy if host.name == request.near]
    return UseHost((near[0] if near else _least_loaded(roomy)).name)


def _least_loaded(hosts: Iterable[HostView]) -> HostView:
    return min(hosts, key=lambda host: (host.load, host.name))
