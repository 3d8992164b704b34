"""Keeps a fixed set of named children running: the root's supervisors, the gateways.

Each child has a task that starts or adopts it, waits for its end, asks the policy, waits, and starts it again. A child
that ends takes the siblings along that the strategy names; they come back by their own tasks, after it. One that is replaced
on purpose (`replace`, `hand_over`) takes nobody along, and its end is not held against it.

Past a child's intensity the keeper tells `escalated`, once, and leaves the rest to who owns it. One that is not needed is left
alone for AGAIN_S instead, and then tried again.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from actors.runtime import Exit, ProcessDied, ProcessInfo, Ref, Runtime, RuntimeFault
from supervision import ways_out
from supervision.chronicle import Ending
from supervision.control_plane import kill_surely
from supervision.heartbeat import until_gone
from supervision.history import Ended, History, last_exit
from supervision.policy import Escalate, GiveUp, RestartAfter, decide
from supervision.reporting import Tell, tell_nobody
from supervision.spec import ChildSpec, Siblings
from undying.protocol.data import JsonObject
from undying.protocol.errors import Code, UndyingError, error

LATER_S: Final = 3.0
"""Seconds after its siblings that a child nobody needs is started: a process takes both cores for most of one, and at the start
of a server what people wait for goes first."""
AGAIN_S: Final = 60.0
"""Seconds that a child nobody needs is left alone when it has ended too often."""

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
    reason: str = ""
    ref: Ref | None = None
    info: ProcessInfo | None = None
    history: History = field(default_factory=History)
    successor: Ref | None = None
    on_purpose: bool = False
    up: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class Keeper:
    """Runs children by their specs. `clock` gives seconds that never go back; `tell` is told of each ending."""

    def __init__(
        self,
        siblings: Siblings,
        runtime: Runtime,
        start: Start,
        find: Find,
        rng: random.Random,
        clock: Callable[[], float],
        tell: Tell = tell_nobody,
    ) -> None:
        self._siblings = siblings
        self._runtime = runtime
        self._start = start
        self._find = find
        self._rng = rng
        self._clock = clock
        self._tell = tell
        self.children = {spec.id: Child(spec) for spec in siblings.children}
        self.escalated: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._stopped: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def begin(self) -> None:
        """Begin to keep all children, all at the same time but for those that are not needed."""
        for child in self.children.values():
            child.task = asyncio.create_task(self._keep(child))

    async def all_up(self) -> None:
        """Return when every child that is needed has been up once, or the keeper has given up."""
        for child in self.children.values():
            if not child.spec.needed:
                continue
            up = asyncio.create_task(child.up.wait())
            either: set[asyncio.Future[Any]] = {up, self.escalated}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not up.done():
                up.cancel()
                return

    async def stop(self) -> None:
        """End the children in reverse order: ask, wait `shutdown_s`, kill."""
        if not self._stopped.done():
            self._stopped.set_result(None)
        for child in self.children.values():
            if child.task is not None:
                child.task.cancel()
        for child in reversed(self.children.values()):
            await self._stop_child(child)

    async def replace(self, child_id: str) -> None:
        """Kill a child; returns when it is up again, if it is needed.

        Raises KeyError when there is none of that id, UndyingError UNAVAILABLE when it does not come up.
        """
        child = self.children[child_id]
        if child.ref is not None:
            child.up.clear()
            child.on_purpose = True
            await kill_surely(child.ref.name, self._runtime)
        if child.spec.needed:  # another one may never come up
            await self._until_up(child)

    async def hand_over(self, child_id: str) -> None:
        """Start a child's successor, and only then end the child in order; returns when the successor is in its place.

        For children of which two can live at once. Raises what `Start` does, then nothing has changed; and what `replace` does.
        """
        child = self.children[child_id]
        old = child.ref
        if old is not None:
            successor = await self._start(child.spec)
            if child.ref is old:
                child.successor = successor
                child.up.clear()
                child.on_purpose = True
                await self._stop_child(child)
            elif child.ref is None or child.ref.name != successor.name:  # it died meanwhile, and will have or has another one
                await kill_surely(successor.name, self._runtime)
        await self._until_up(child)

    async def _until_up(self, child: Child) -> None:
        up = asyncio.create_task(child.up.wait())
        ends: set[asyncio.Future[Any]] = {up, self.escalated, self._stopped}
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if not child.up.is_set():
                raise error(Code.UNAVAILABLE, f"{child.spec.id} does not come up again")
        finally:
            up.cancel()

    def rows(self, parent: str, way_out: str) -> list[JsonObject]:
        """Return a status row per child. `way_out` tells what who owns this does about one that failed."""
        return [self._row(child, parent, way_out) for child in self.children.values()]

    def _row(self, child: Child, parent: str, way_out: str) -> JsonObject:
        row: JsonObject = {
            "id": child.spec.id,
            "kind": child.spec.kind,
            "state": child.state,
            "pid": child.info.pid if child.info else None,
            "node": child.info.node if child.info else None,
            "epoch": None,
            "restarts": child.history.total,
            "last_exit": last_exit(child.history, self._clock()),
            "parent": parent,
        }
        if child.state == "failed":
            row["reason"] = child.reason
            row["way_out"] = ways_out.of_child(way_out, None if child.spec.needed else AGAIN_S)
        return row

    async def _keep(self, child: Child) -> None:
        ref = await self._adopt(child)
        if ref is None and not child.spec.needed:
            await self.all_up()
            await asyncio.sleep(LATER_S)
            if self.escalated.done():
                return
        while True:
            exit_ = await self._live(child, ref)
            ref, child.successor = child.successor, None
            ended = _ending(child, exit_)
            child.ref = child.info = None
            if child.on_purpose:
                child.on_purpose = False
                child.state = "restarting"
                continue
            verdict = decide(child.spec, child.history, exit_, self._clock(), self._rng)
            self._tell(ended.after(verdict, "failed"))
            child.history.add(Ended(self._clock(), child.spec.id, exit_))
            _log.warning("%s ended: %s %s; %s", child.spec.id, exit_.reason, exit_.detail, verdict)
            if isinstance(verdict, GiveUp):
                child.state = "resting"
                return
            if isinstance(verdict, Escalate):
                child.state, child.reason = "failed", verdict.reason
                if not child.spec.needed:
                    await asyncio.sleep(AGAIN_S)
                    child.history.forget()
                    child.state = "restarting"
                    continue
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
            async with asyncio.timeout(child.spec.heartbeat.silent_s):  # one that hangs is not adopted
                return await self._find(child.spec)
        except (RuntimeFault, UndyingError, TimeoutError) as problem:
            _log.warning("can't look for %s: %r", child.spec.id, problem)
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


def _ending(child: Child, exit_: Exit) -> Ending:
    where, node = child.ref.name if child.ref else "", child.info.node if child.info else ""
    return Ending(child.spec.id, child.spec.kind, where, node, exit_)
