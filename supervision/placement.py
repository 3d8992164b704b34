"""Where an entity goes: pure, over what the hosts supervisor knows (DESIGN §4).

1. An entity that has a place keeps it.
2. A suspect (it was on a host that died) never shares with one that is none: it gets a process of its own, and past
   `suspects_max` such processes on every node it shares with other suspects.
3. While a node is below its budget an entity gets a host of its own there: one that stands empty, else a spare, else a new
   process. What is there at once comes before what has to be started, also on another node. One that is to be woken (`soon`)
   shares a host rather than wait for a process: when a killed server is back, all of its tables wake at the same time.
4. When all nodes are past their budgets hosts are shared: the one asked for (`near`) if it has room, else the least loaded.
5. When all are full there is no place.

Which node: the one asked for (the asker's: what is on one machine talks faster), unless it has much more to do than another;
then the one on which the fewest entities live. A node that does not answer is left out, unless all are like that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

AFFINITY_FACTOR: Final = 2
AFFINITY_SLACK: Final = 8
"""A node is preferred up to this many times the entities of the node with the fewest, and so many more."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How much room there is. `hosts_per_node` hosts that hold no suspect; `suspects_max` more, per node, for suspects."""

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
class NodeView:
    """A node that may be used, with its spares, oldest first. `silent` when nothing there answers.

    `coming` hosts are being made of spares right now, of the kind that is asked for (for suspects, or not), and count against
    the budget.
    """

    name: str
    spares: tuple[str, ...] = ()
    coming: int = 0
    silent: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """Who wants a place: not on the host `avoid`, on `near` when hosts are shared, `suspect` away from the healthy.

    `node` is where the one that asks lives. `soon`: at once and in company rather than later and alone; not for suspects.
    """

    stream: str
    avoid: str = ""
    near: str = ""
    suspect: bool = False
    node: str = ""
    soon: bool = False


@dataclass(frozen=True, slots=True)
class UseHost:
    """Live on this host, which runs already."""

    name: str


@dataclass(frozen=True, slots=True)
class TakeSpare:
    """Make this spare of the node a host."""

    name: str
    node: str


@dataclass(frozen=True, slots=True)
class StartNew:
    """Start a process on the node, or take the next one that comes up there, and make it a host."""

    node: str


@dataclass(frozen=True, slots=True)
class Full:
    """There is no room."""


Place: TypeAlias = UseHost | TakeSpare | StartNew | Full


def place(request: Request, hosts: Sequence[HostView], nodes: Sequence[NodeView], budget: Budget) -> Place:
    """Choose a place. Hosts on nodes that are not in `nodes` are left alone: nobody is to come to them any more."""
    ranked = _ranked(request, hosts, nodes)
    names = {node.name for node in ranked}
    others = [host for host in hosts if host.node in names and host.name != request.avoid]
    able = [host for host in others if host.ward == request.suspect]
    limit = budget.suspects_max if request.suspect else budget.hosts_per_node
    below = [node for node in ranked if sum(host.node == node.name for host in able) + node.coming < limit]
    for node in ranked:
        empty = [host for host in others if host.node == node.name and host.load == 0]
        if empty:
            return UseHost(_least_loaded(empty).name)
        if node in below and node.spares:
            return TakeSpare(node.spares[0], node.name)
    roomy = [host for host in able if host.load < budget.entities_per_host_max]
    if below and (request.suspect or not request.soon or not roomy):
        return StartNew(below[0].name)
    if roomy:
        near = [host for host in roomy if host.name == request.near]
        return UseHost((near[0] if near else _least_loaded(roomy)).name)
    # The first ones past a small budget may come while its hosts are still being made.
    coming = [node for node in ranked if node.coming]
    return StartNew(coming[0].name) if coming and not able else Full()


def _ranked(request: Request, hosts: Sequence[HostView], nodes: Sequence[NodeView]) -> list[NodeView]:
    """Return the nodes that may be used, the best one first."""
    usable = [node for node in nodes if not node.silent] or list(nodes)
    load = {node.name: 0 for node in usable}
    for host in hosts:
        if host.node in load:
            load[host.node] += host.load
    enough = AFFINITY_FACTOR * min(load.values(), default=0) + AFFINITY_SLACK

    def rank(node: NodeView) -> tuple[bool, int, str]:
        wanted = node.name == request.node and load[node.name] <= enough
        return not wanted, load[node.name] + node.coming, node.name

    return sorted(usable, key=rank)


def _least_loaded(hosts: Iterable[HostView]) -> HostView:
    return min(hosts, key=lambda host: (host.load, host.name))
