"""Keeps a fixed set of named children running: the root's supervisors, the gateways.

Each child has a task that starts or adopts it, waits for its end, asks the policy, waits, and starts it again. A child
that ends takes the siblings along that the strategy names; they come back by their own tasks, after it.

Past a child's intensity the keeper tells `escalated`, once, and leaves the rest to who owns it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from actors.runtime import Exit, ProcessDied, ProcessInfo, Ref, Runtime, RuntimeFault
from supervision.control_plane import kill_surely
from supervision.heartbeat import until_gone
from supervision.history import Ended, History, last_exit
from supervision.policy import Escalate, GiveUp, RestartAfter, decide
from supervision.spec import ChildSpec, Siblings
from undying.protocol.data import JsonObject
from undying.protocol.errors import UndyingError

_log = logging.getLogger(__name__)

Start = Callable[[ChildSpec], Awaitable[Ref]]
"""Starts a child; raises RuntimeFault or UndyingError."""
Find = Callable[[ChildSpec], Awaitable[Ref | None]]
"""Finds a child that lives already."""


@dataclass(slots=True)
class Child:
    """One child as it stands."""

    spec: ChildSpec
    state: str = "starting"
    ref: Ref | None = None
    info: ProcessInfo | None = None
    history: History = field(default_factory=History)
    up: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class Keeper:
    """Runs children by their specs. `clock` gives seconds that never go back."""

    def __init__(
        self, siblings: Siblings, runtime: Runtime, start: Start, find: Find, rng: random.Random, clock: Callable[[], float]
    ) -> None:
        self._siblings = siblings
        self._runtime = runtime
        self._start = start
        self._find = find
        self._rng = rng
        self._clock = clock
        self.children = {spec.id: Child(spec) for spec in siblings.children}
        self.escalated: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def begin(self) -> None:
        """Begin to keep all children, all at the same time."""
        for child in self.children.values():
            child.task = asyncio.create_task(self._keep(child))

    async def all_up(self) -> None:
        """Return when every child has been up once, or the keeper has given up."""
        for child in self.children.values():
            up = asyncio.create_task(child.up.wait())
            either: set[asyncio.Future[Any]] = {up, self.escalated}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not up.done():
                up.cancel()
                return

    async def stop(self) -> None:
        """End the children in reverse order: ask, wait `shutdown_s`, kill."""
        for child in self.children.values():
            if child.task is not None:
                child.task.cancel()
        for child in reversed(self.children.values()):
            await self._stop_child(child)

    async def renew(self, child_id: str) -> None:
        """End a child in order; returns when it is up again. Raises KeyError when there is none of that id."""
        child = self.children[child_id]
        child.up.clear()
        await self._stop_child(child)
        await child.up.wait()

    def rows(self, kind: str, parent: str) -> list[JsonObject]:
        """Return a status row per child."""
        return [
            {
                "id": child.spec.id,
                "kind": kind,
                "state": child.state,
                "pid": child.info.pid if child.info else None,
                "node": child.info.node if child.info else None,
                "epoch": None,
                "restarts": child.history.total,
                "last_exit": last_exit(child.history, self._clock()),
                "parent": parent,
            }
            for child in self.children.values()
        ]

    async def _keep(self, child: Child) -> None:
        ref = await self._adopt(child)
        while True:
            exit_ = await self._live(child, ref)
            ref = None
            child.ref = child.info = None
            verdict = decide(child.spec, child.history, exit_, self._clock(), self._rng)
            child.history.add(Ended(self._clock(), child.spec.id, exit_))
            _log.warning("%s ended: %s %s; %s", child.spec.id, exit_.reason, exit_.detail, verdict)
            if isinstance(verdict, GiveUp):
                child.state = "resting"
                return
            if isinstance(verdict, Escalate):
                child.state = "failed"
                if not self.escalated.done():
                    self.escalated.set_result(f"{child.spec.id}: {verdict.reason}")
                return
            child.state = "restarting"
            await self._restart_siblings(child, verdict)

    async def _restart_siblings(self, child: Child, verdict: RestartAfter) -> None:
        for sibling in reversed(self._siblings.restarted_with(child.spec.id)):
            other = self.children[sibling]
            if other.state == "live" and other.ref is not None:
                await kill_surely(other.ref.name, self._runtime)
        if verdict.after_s > 0:
            await asyncio.sleep(verdict.after_s)

    async def _live(self, child: Child, ref: Ref | None) -> Exit:
        """Start the child unless it was adopted, and return when it has ended."""
        try:
            async with asyncio.timeout(child.spec.start_s):
                child.ref = ref or await self._start(child.spec)
                child.info = await child.ref.info()
        except TimeoutError:
            return Exit("failed", f"not up within {child.spec.start_s:g} s")
        except (RuntimeFault, UndyingError) as problem:
            return Exit("failed", str(problem))
        child.state = "live"
        child.up.set()
        return await until_gone(child.ref, self._runtime, child.spec.heartbeat)

    async def _adopt(self, child: Child) -> Ref | None:
        try:
            return await self._find(child.spec)
        except (RuntimeFault, UndyingError) as problem:
            _log.warning("can't look for %s: %s", child.spec.id, problem)
            return None

    async def _stop_child(self, child: Child) -> None:
        if child.ref is None:
            return
        child.state = "draining"
        try:
            async with asyncio.timeout(child.spec.shutdown_s):
                await child.ref.call("stop")
        except ProcessDied:
            pass  # which is what was wanted
        except (RuntimeFault, UndyingError, TimeoutError) as problem:
            _log.warning("%s did not stop in order: %r", child.spec.id, problem)
            await kill_surely(child.ref.name, self._runtime)
