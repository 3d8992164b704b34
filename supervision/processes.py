"""The processes that the hosts supervisor owns, whatever they became: started, watched, given programs, on every node.

    (spawned by a pool) ─▶ spare ─run▶ runs a program ─▶ gone          spare ─▶ gone

Invariants: each is watched from when it is known until it is gone, and `gone` is told once of each; nobody is given one that
is known to be gone; what a program's start left in doubt is killed.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from actors.runtime import Exit, Inside, ProcessDied, ProcessInfo, Program, ProgramFailed, Ref, RuntimeFault
from supervision.adoption import PREFIX
from supervision.control_plane import kill_surely
from supervision.fleet import Fleet
from supervision.heartbeat import HUNG, Heartbeat, until_gone
from supervision.pool import SparePool
from undying.protocol.errors import Code, error
from undying.protocol.ids import new_id

TRIES_MAX: Final = 3
"""Spares that are tried for a program, when they die in our hands."""
RUN_S: Final = 30.0
"""Seconds that a program may take to start; a store that does not answer is given up earlier."""
SILENT_SHARE: Final = 0.6
"""A node counts as silent after this share of the time after which a process there counts as hung: three heartbeats."""

_log = logging.getLogger(__name__)


class Processes:
    """`likely` is the program that most spares will be given, `gone` is told of each end: name, what is known, how."""

    def __init__(
        self,
        inside: Inside,
        spares: int,
        likely: Program,
        heartbeat: Heartbeat,
        gone: Callable[[str, ProcessInfo | None, Exit], None],
        rng: random.Random,
    ) -> None:
        self.infos: dict[str, ProcessInfo] = {}
        self._runtime = inside.runtime
        self._spares = spares
        self._likely = likely
        self._heartbeat = heartbeat
        self._gone = gone
        self._rng = rng
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._late: set[asyncio.Task[None]] = set()
        self.fleet = Fleet(inside.runtime, inside.node, self._new_pool, heartbeat.silent_s * SILENT_SHARE)

    def spares(self) -> list[tuple[str, bool]]:
        """Return the spares, and whether each is warm."""
        return [(name, pool.is_prepared(name)) for pool in self.fleet.pools() for name in pool.names]

    async def end_spare(self, name: str) -> None:
        """End a spare, unless somebody has taken it."""
        if any(pool.withdraw(name) for pool in self.fleet.pools()):
            await kill_surely(name, self._runtime)

    def adopt(self, ref: Ref, info: ProcessInfo) -> None:
        """Take in a process that lives already."""
        self.infos[ref.name] = info
        self._watch(ref)
        if info.program is None:
            try:
                self.fleet.pool(info.node).adopt(ref)
            except ProcessDied:  # on a node that is not known yet, or gone: another one starts there
                self.do_late(kill_surely(ref.name, self._runtime))

    async def run(self, program: Program, node: str, spare: str = "") -> tuple[Ref, ProcessInfo]:
        """Run a program on a node: on that spare, or the next. Raises UndyingError UNAVAILABLE."""
        last = ""
        for _ in range(TRIES_MAX):
            try:
                pool = self.fleet.pool(node)
                ref = await pool.take(spare)
            except ProcessDied:
                raise error(Code.UNAVAILABLE, f"{node} takes no {program.name}", node=node) from None
            known = self.infos.get(ref.name)
            if known is not None and program == self._likely and pool.is_prepared(ref.name):
                # Who is to live there need not wait: calls to it wait until it runs, and fail when it does not start.
                self.do_late(self._start(ref, program))
                info = self.infos[ref.name] = replace(known, program=program.name)
                return ref, info
            try:
                async with asyncio.timeout(RUN_S):
                    info = await ref.run(program)
            except ProgramFailed as failed:
                raise error(Code.UNAVAILABLE, f"{program.name} does not start", reason=str(failed)) from failed
            except (RuntimeFault, TimeoutError) as fault:
                last = str(fault) or f"{program.name} did not start within {RUN_S:g} s"
                await kill_surely(ref.name, self._runtime)  # whether it runs now is not known, and nobody would use it
                continue
            if ref.name in self._watches:
                self.infos[ref.name] = info
                return ref, info
            last = f"{ref.name} died at once"
        raise error(Code.UNAVAILABLE, f"no process runs {program.name}", reason=last)

    async def answers(self, name: str) -> bool:
        """Tell whether a process lives: it may have died just now, of which the watch tells in a moment."""
        try:
            ref = await self._runtime.find(name)
            return ref is not None and bool(await ref.info())
        except RuntimeFault:
            return False

    def do_late(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something in the background; `finish` waits for it."""
        task = asyncio.create_task(work)
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    def stop_watching(self) -> None:
        """Start nothing any more, and take no more notice of ends."""
        self.fleet.end()
        for task in self._watches.values():
            task.cancel()

    async def finish(self) -> None:
        """Wait for what is done in the background, then kill all that is left."""
        await asyncio.gather(*self._late)
        for name in await self._runtime.names():
            if name.startswith(PREFIX):
                await self._runtime.kill(name)

    async def _start(self, ref: Ref, program: Program) -> None:
        try:
            async with asyncio.timeout(RUN_S):
                await ref.run(program)
        except (RuntimeFault, TimeoutError) as fault:
            _log.warning("%s did not become a %s: %r", ref.name, program.name, fault)
            await kill_surely(ref.name, self._runtime)

    def _watch(self, ref: Ref) -> None:
        if ref.name not in self._watches:
            self._watches[ref.name] = asyncio.create_task(self._wait_for_end(ref))

    async def _wait_for_end(self, ref: Ref) -> None:
        facts = asyncio.create_task(self._note_facts(ref))
        exit_ = await until_gone(ref, self._runtime, self._heartbeat, self._heard)
        facts.cancel()
        if exit_.reason == HUNG and ref.name in self.infos:
            self.fleet.hung_on(self.infos[ref.name].node)
        _log.info("process %s is gone: %s %s", ref.name, exit_.reason, exit_.detail)
        self._watches.pop(ref.name, None)
        self._gone(ref.name, self.infos.pop(ref.name, None), exit_)
        for pool in self.fleet.pools():
            pool.discard(ref.name)

    def _heard(self, info: ProcessInfo) -> None:
        self.fleet.heard_from(info.node)

    async def _note_facts(self, ref: Ref) -> None:
        with suppress(RuntimeFault):  # then it is gone at once, or the facts come with the program
            info = await ref.info()
            self.infos.setdefault(ref.name, info)
            self._heard(info)

    def _new_pool(self, node: str) -> SparePool:
        return SparePool(self._runtime, self._spares, self._likely, self._new_name, self._watch, self._rng, node)

    def _new_name(self) -> str:
        return PREFIX + new_id(self._rng, 8)
