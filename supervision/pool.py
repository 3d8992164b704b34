"""Empty processes of one node that wait, already started, for whoever needs one at once.

`take` hands out the oldest spare, or the next that comes up. In the background the pool starts as many as are short of
the target and of those who wait, two at a time: starting one costs both cores for most of a second.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable
from typing import Final

from actors.runtime import ProcessDied, Program, Ref, Runtime, RuntimeFault
from supervision.control_plane import kill_surely
from undying.resilience.backoff import Backoff

AT_ONCE: Final = 2

REFILL_AFTER_S: Final = 0.3
"""Seconds between a spare being taken and the start of the next: whoever took it needs the processor first."""

BACKOFF: Final = Backoff(base_s=0.2, factor=2.0, cap_s=5.0, jitter=0.25)
"""Between tries to start a process, when it fails."""

_log = logging.getLogger(__name__)


class SparePool:
    """The spares. `started` is told of each process that the pool started, before anybody gets it.

    A spare builds the program `likely` ahead: a host's connection to the store is open before an entity needs it.
    """

    def __init__(
        self,
        runtime: Runtime,
        target: int,
        likely: Program,
        new_name: Callable[[], str],
        started: Callable[[Ref], None],
        rng: random.Random,
        node: str,
    ) -> None:
        self.node = node
        self._likely = likely
        self._runtime = runtime
        self._target = target
        self._new_name = new_name
        self._started = started
        self._rng = rng
        self._spares: dict[str, Ref] = {}
        self._prepared: set[str] = set()
        self._waiting: deque[asyncio.Future[Ref]] = deque()
        self._starting: set[asyncio.Task[None]] = set()
        self._preparing: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def names(self) -> list[str]:
        """Return the names of the spares, oldest first."""
        return list(self._spares)

    async def take(self, name: str = "") -> Ref:
        """Take the spare `name`, or any; waits for one to come up when there is none. Raises ProcessDied once it is closed."""
        if self._closed:
            raise ProcessDied(f"a process on {self.node}")
        chosen = name if name in self._spares else next(iter(self._spares), None)
        if chosen is not None:
            ref = self._spares.pop(chosen)
            asyncio.get_running_loop().call_later(REFILL_AFTER_S, self.refill)
            return ref
        waiter: asyncio.Future[Ref] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        self.refill()
        return await waiter

    def is_prepared(self, name: str) -> bool:
        """Tell whether a spare, which may have been taken, was seen to have built the likely program."""
        return name in self._prepared

    def offer(self, ref: Ref) -> None:
        """Add a process that is up and empty."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(ref)
                return
        self._spares[ref.name] = ref

    def adopt(self, ref: Ref) -> None:
        """Add a process that is up and empty, and have it build the likely program, if it has not done so already."""
        self.offer(ref)
        task = asyncio.create_task(self._prepare(ref))
        self._preparing.add(task)
        task.add_done_callback(self._preparing.discard)

    def withdraw(self, name: str) -> bool:
        """Take a spare out, for nobody; False when it is none any more."""
        return self._spares.pop(name, None) is not None

    def discard(self, name: str) -> None:
        """Forget a process of this node that died."""
        self._prepared.discard(name)
        if self._spares.pop(name, None) is not None:
            self.refill()

    def refill(self) -> None:
        """Start what is short, in the background."""
        short = self._target + len(self._waiting) - len(self._spares) - len(self._starting)
        if self._closed:
            return
        for _ in range(min(short, AT_ONCE - len(self._starting))):
            task = asyncio.create_task(self._start())
            self._starting.add(task)
            task.add_done_callback(self._done)

    def close(self) -> None:
        """Start no more, and let nobody wait any more. What is starting is ended as soon as it is up."""
        self._closed = True
        for task in self._preparing:
            task.cancel()
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_exception(ProcessDied(f"a process on {self.node}"))

    def _done(self, task: asyncio.Task[None]) -> None:
        self._starting.discard(task)
        if not task.cancelled():
            self.refill()

    async def _start(self) -> None:
        attempt = 0
        while True:
            name = self._new_name()
            try:
                ref = await self._runtime.spawn(name, node=self.node)
            except RuntimeFault as fault:
                _log.warning("a spare did not start: %s", fault)
                await kill_surely(name, self._runtime)  # it may be there all the same, and nobody would know
                await asyncio.sleep(BACKOFF.delay(attempt, self._rng))
                attempt += 1
                continue
            if self._closed:
                await kill_surely(name, self._runtime)
                return
            self._started(ref)
            self.adopt(ref)
            return

    async def _prepare(self, ref: Ref) -> None:
        """Try once, and again for as long as it is a spare."""
        attempt = 0
        while True:
            try:
                await ref.prepare(self._likely)
            except RuntimeFault as fault:
                _log.info("a spare is not prepared: %s", fault)  # then it takes longer to become a host, no more
            else:
                self._prepared.add(ref.name)
                return
            await asyncio.sleep(BACKOFF.delay(attempt, self._rng))
            attempt += 1
            if self._closed or ref.name not in self._spares:
                return
