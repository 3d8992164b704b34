"""The nodes of the cluster as the hosts supervisor uses them: which there are, a pool of spares on each, which answer.

    joined ─▶ open ⇄ silent          open ─close▶ closed ─open▶ open          any ─gone▶ forgotten

A node is *silent* when processes live there and none of them has answered for a while: it is cut off, or lost and nobody
knows yet. It stays so when these are given up, until one that is started there is up. Nobody is placed on a silent node as long
as there is another one. A *closed* one is to be shut down: nothing new comes there.
Which nodes there are is asked of the runtime again and again; it learns of a lost one later than the heartbeats do.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from actors.runtime import ProcessDied, Runtime, RuntimeFault
from supervision.placement import NodeView
from supervision.pool import SparePool

NODES_S: Final = 2.0
"""Seconds between two looks at which nodes there are."""

_log = logging.getLogger(__name__)


class Fleet:
    """The nodes. `own` is known from the start; `silent_s` without any answer make a node with processes a silent one."""

    def __init__(self, runtime: Runtime, own: str, new_pool: Callable[[str], SparePool], silent_s: float) -> None:
        self._runtime = runtime
        self._own = own
        self._new_pool = new_pool
        self._silent_s = silent_s
        self._now = asyncio.get_running_loop().time
        self._pools: dict[str, SparePool] = {}
        self._heard: dict[str, float] = {}
        self._closed: set[str] = set()
        self._given_up: set[str] = set()
        self._ended = False
        self._take_in([own])

    @property
    def open(self) -> list[str]:
        """Return the nodes that may be used."""
        return [node for node in self._pools if node not in self._closed]

    async def follow(self) -> None:
        """Look again and again which nodes there are."""
        while True:
            try:
                self._take_in(await self._runtime.nodes())
            except RuntimeFault as fault:
                _log.warning("the nodes can't be looked up: %s", fault)
            await asyncio.sleep(NODES_S)

    def heard_from(self, node: str) -> None:
        """Note that a process there answered."""
        self._heard[node] = self._now()
        self._given_up.discard(node)

    def hung_on(self, node: str) -> None:
        """Note that a process there was given up since it did not answer."""
        if self._is_silent(node):
            self._given_up.add(node)

    def pool(self, node: str) -> SparePool:
        """Return the spares of a node. Raises ProcessDied when it is gone."""
        if node not in self._pools:
            raise ProcessDied(f"a process on {node}")
        return self._pools[node]

    def pools(self) -> list[SparePool]:
        """Return the spares of all nodes."""
        return list(self._pools.values())

    def refill(self) -> None:
        """Begin to start what spares are missing, on all nodes that may be used."""
        for node in self.open:
            self._pools[node].refill()

    def close(self, node: str) -> None:
        """Let nothing new come to a node."""
        self._closed.add(node)
        if node in self._pools:
            self._pools[node].close()

    def reopen(self, node: str) -> None:
        """Use a node again."""
        if node in self._closed and node in self._pools:
            self._closed.discard(node)
            self._pools[node] = self._new_pool(node)
            self._pools[node].refill()

    def end(self) -> None:
        """Start nothing any more, anywhere."""
        self._ended = True
        for pool in self._pools.values():
            pool.close()

    def views(self, coming: Mapping[str, int], inhabited: Iterable[str]) -> list[NodeView]:
        """Return the open nodes for `placement.place`. `coming`: hosts being made there; `inhabited`: where processes live."""
        lived_in = set(inhabited)
        return [
            NodeView(
                node,
                tuple(self._pools[node].names),
                coming.get(node, 0),
                silent=node in self._given_up or (node in lived_in and self._is_silent(node)),
            )
            for node in self.open
        ]

    def _is_silent(self, node: str) -> bool:
        return node in self._heard and self._now() - self._heard[node] > self._silent_s

    def _take_in(self, nodes: Iterable[str]) -> None:
        living = set(nodes)
        for node in sorted(living - self._pools.keys()):
            self._heard[node] = self._now()
            self._pools[node] = self._new_pool(node)
            if not self._ended and node != self._own:
                _log.info("node %s joined", node)
                self._pools[node].refill()
        for node in [node for node in self._pools if node not in living]:
            _log.warning("node %s is gone", node)
            self._pools.pop(node).close()
            self._closed.discard(node)
            self._given_up.discard(node)
            self._heard.pop(node, None)
