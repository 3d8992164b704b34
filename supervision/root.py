"""The root: starts the supervisors, keeps them running, tells about the whole tree, and ends it.

The root is the one process that the runtime itself restarts. It finds the supervisors that live by their names and
restarts none that is well. Nobody is above it, so when a supervisor fails past its intensity the root stops all of them
and, after a while, starts over; only a server that never came up is given up.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from actors.runtime import Exit, Inside, NameTaken, Program, Ref, RuntimeFault
from supervision.chronicle import Ending
from supervision.control_plane import kill_surely
from supervision.heartbeat import Heartbeat
from supervision.keeper import Keeper
from supervision.reach import Reach
from supervision.reporting import TRACKER, Tell, tell_nobody
from supervision.spec import ChildSpec, Intensity, Siblings
from undying.protocol.data import JsonObject
from undying.protocol.errors import Code, UndyingError, error
from undying.resilience.tasks import vital

NAME: Final = "root"
"""Name of the root process, and of its program in the wiring."""

SUPERVISORS: Final[Mapping[str, str]] = {
    "supervisor:hosts": "hosts",
    "supervisor:sessions": "sessions",
    "supervisor:characters": "characters",
    "supervisor:providers": "providers",
    "supervisor:gateways": "gateways",
}
"""Process names and programs, in the order of their start: gateways end first, the hosts last."""

INTENSITY: Final = Intensity(restarts=5, within_s=60.0)
"""A supervisor that ends more often than that has a defect, or a machine that it can't work on."""

STATUS_S: Final = 2.0
"""Seconds that a supervisor has to tell about its children; past them its rows are left out."""
ASK_S: Final = 10.0
"""Seconds within which a supervisor carries out an order."""
RENEW_S: Final = 600.0
"""Seconds that a supervisor has to replace all its processes."""
AGAIN_S: Final = 10.0
"""Seconds between stopping all supervisors and starting over."""

WAY_OUT: Final = f"the root stops everything and starts over in {AGAIN_S:g} s"
"""What a person is told about a supervisor that failed."""

_log = logging.getLogger(__name__)


def supervisor_specs(
    settings: Mapping[str, JsonObject], shutdown_s: float = 20.0, heartbeat: Heartbeat | None = None
) -> list[ChildSpec]:
    """Make the specs of all supervisors and of the tracker, which nobody needs.

    `settings` maps a program's name to its settings; those left out get none.
    """
    return [
        ChildSpec(
            name,
            Program(program, settings.get(program, {})),
            shutdown_s=shutdown_s,
            intensity=INTENSITY,
            heartbeat=heartbeat or Heartbeat(),
            kind="tracker" if name == TRACKER else "supervisor",
            needed=name != TRACKER,
        )
        for name, program in [*SUPERVISORS.items(), (TRACKER, TRACKER)]
    ]


class RootSupervisor:
    """The program `root`. `clock` gives seconds that never go back; `end` ends its process so that it is started again."""

    def __init__(
        self,
        specs: Sequence[ChildSpec],
        inside: Inside,
        rng: random.Random,
        clock: Callable[[], float],
        end: Callable[[], None],
        tell: Tell = tell_nobody,
    ) -> None:
        self._tell = tell
        self._siblings = Siblings(specs)
        self._inside = inside
        self._rng = rng
        self._clock = clock
        self._adopted = 0
        self._keeper = self._new_keeper()
        self._over: asyncio.Task[None] | None = None
        self._end = end
        self._renewing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start or adopt all supervisors; returns when each has been up. Raises UNAVAILABLE when they don't come up."""
        self._keeper.begin()
        await self._keeper.all_up()
        if self._keeper.escalated.done() and not self._adopted:
            await self._keeper.stop()
            raise error(Code.UNAVAILABLE, f"the server does not start: {self._keeper.escalated.result()}")
        self._over = vital(self._start_over(), "starting over")
        if self._adopted:  # whoever started this one again does not tell
            exit_ = Exit("killed", f"{self._adopted} of its children were found alive")
            self._tell(Ending(self._inside.name, "root", self._inside.name, self._inside.node, exit_))

    async def stop(self) -> None:
        """End the tree: gateways first, then the supervisors of entities, then the hosts with all that lives in them."""
        for task in (self._over, self._renewing):
            if task is not None:
                task.cancel()
        await self._keeper.stop()

    async def status(self) -> list[JsonObject]:
        """Return a row per living thing: the root, the supervisors, and what each of them tells about its children."""
        own: JsonObject = {"id": self._inside.name, "kind": "root", "state": "live", "pid": os.getpid()}
        own |= {"node": self._inside.node, "epoch": None, "restarts": 0, "last_exit": None, "parent": None}
        rows = [own, *self._keeper.rows(self._inside.name, WAY_OUT)]
        told = await asyncio.gather(*(self._ask(child.ref) for child in self._keeper.children.values()))
        return [*rows, *(row for some in told for row in some)]

    async def drain(self, node: str) -> JsonObject:
        """Empty a node, in the background, and let nothing new come there; tables go on elsewhere. May be asked again.

        What is above them, the root and the supervisors, stays where it is. Returns `{node, hosts, gateways}`: how many are
        left to be ended. Raises UndyingError: NOT_FOUND when there is no such node, WRONG_STATE when it is the only one,
        UNAVAILABLE.
        """
        if node not in await self._inside.runtime.nodes():
            raise error(Code.NOT_FOUND, f"there is no node {node}", node=node)
        hosts, gateways = (
            await self._supervisor("hosts").call("drain", node),
            await self._supervisor("gateways").call("drain", node),
        )
        return {"node": node, "hosts": hosts, "gateways": gateways}

    async def undrain(self, node: str) -> None:
        """Use a node again that was drained. Raises UndyingError NOT_FOUND when there is no such node, UNAVAILABLE."""
        if node not in await self._inside.runtime.nodes():
            raise error(Code.NOT_FOUND, f"there is no node {node}", node=node)
        await self._supervisor("hosts").call("undrain", node)

    async def restart(self) -> None:
        """Replace every process by a fresh one, in the background, while tables play on; the root itself comes last.

        A restart that is under way goes on.
        """
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.create_task(self._renew())

    async def _renew(self) -> None:
        for what, how in (("hosts", "renew_spares"), ("gateways", "renew"), ("hosts", "renew")):
            try:
                replaced = await self._supervisor(what, RENEW_S).call(how)
                _log.info("%d processes of %s were replaced (%s)", replaced, what, how)
            except (RuntimeFault, UndyingError) as problem:  # then these stay, which a person sees in the status
                _log.warning("not all %s were replaced: %s", what, problem)
        for child in list(self._keeper.children):
            try:
                await self._keeper.replace(child)
            except UndyingError as problem:  # it failed past its intensity: everything starts over anyway
                _log.error("the restart ends here: %s", problem)
                return
        _log.info("every supervisor was replaced; the root ends, to be started again")
        self._end()

    def _supervisor(self, what: str, deadline_s: float = ASK_S) -> Reach:
        return Reach(self._inside.runtime, f"supervisor:{what}", self._rng, deadline_s=deadline_s)

    def _new_keeper(self) -> Keeper:
        return Keeper(self._siblings, self._inside.runtime, self._spawn, self._find, self._rng, self._clock, self._tell)

    async def _start_over(self) -> None:
        while True:
            reason = await self._keeper.escalated
            _log.error("starting over: %s", reason)
            await self._keeper.stop()
            await asyncio.sleep(AGAIN_S)
            self._keeper = self._new_keeper()
            self._keeper.begin()

    async def _spawn(self, spec: ChildSpec) -> Ref:
        try:
            return await self._inside.runtime.spawn(spec.id, spec.program)
        except NameTaken:
            # Alive but not found a moment ago, or dead and its name not free yet: either way this one is not in use.
            await kill_surely(spec.id, self._inside.runtime)
            return await self._inside.runtime.spawn(spec.id, spec.program)

    async def _find(self, spec: ChildSpec) -> Ref | None:
        ref = await self._inside.runtime.find(spec.id)
        if ref is not None and (await ref.info()).program == spec.program.name:
            self._adopted += 1
            return ref
        return None

    async def _ask(self, ref: Ref | None) -> list[JsonObject]:
        if ref is None:
            return []
        try:
            async with asyncio.timeout(STATUS_S):
                rows: list[Any] = await ref.call("status")
                return rows
        except (RuntimeFault, UndyingError, TimeoutError) as problem:
            _log.info("%s does not tell its status: %r", ref.name, problem)
            return []
