"""Watching a process closely: its death is told by the runtime, and that it hangs is found out by asking it.

A process hangs when it does not answer though it lives: stopped by a signal, caught in an endless loop, swapped out. To those
who wait for it that is worse than a death. So it is killed, which the runtime tells everybody, and then it is a death.
The same happens to one that holds more memory than it may: sooner or later the system would end something, and maybe another.

Laws: a process that answers within `silent_s` is never killed; one that does not is killed at most `every_s + silent_s` after
its last answer. Calls that get lost for so long are silence too; a pause of the asker's own is none.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from actors.runtime import Exit, ProcessDied, ProcessInfo, Ref, Runtime, RuntimeFault
from supervision.control_plane import AGAIN_S, kill_surely

HUNG: Final = "hung"
MEMORY: Final = "memory"
"""The reasons of an `Exit` that was brought about here."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A process is asked every `every_s` seconds, and counts as hung after `silent_s` without an answer.

    It may hold `memory_bytes_max`; 0 is without a bound. Raises ValueError when one of the times is not above 0.
    """

    every_s: float = 1.0
    silent_s: float = 5.0
    memory_bytes_max: int = 0

    def __post_init__(self) -> None:
        if self.every_s <= 0 or self.silent_s <= 0 or self.memory_bytes_max < 0:
            raise ValueError(f"not a heartbeat: {self}")


async def until_gone(
    ref: Ref, runtime: Runtime, heartbeat: Heartbeat, heard: Callable[[ProcessInfo], None] | None = None
) -> Exit:
    """Return when the process is gone. One that hangs, or holds too much, is killed first, with a reason of its own.

    `heard` is told of each answer.
    """
    ended = asyncio.create_task(ref.watch())
    known: ProcessInfo | None = None
    try:
        while True:
            await asyncio.wait({ended}, timeout=heartbeat.every_s)
            if ended.done():
                return ended.result()
            try:
                known = await _ask(ref, heartbeat) or known
            except TimeoutError:
                fault = Exit(HUNG, f"no answer for {heartbeat.silent_s:g} s")
            else:
                if known is not None and heard is not None:
                    heard(known)
                if known is None or not 0 < heartbeat.memory_bytes_max < known.memory_bytes:
                    continue
                fault = Exit(MEMORY, f"held {known.memory_bytes >> 20} MiB, and may hold {heartbeat.memory_bytes_max >> 20}")
            _log.error("%s is killed: %s", ref.name, fault.detail)
            await kill_surely(ref.name, runtime, known)
            await ended
            return fault
    finally:
        ended.cancel()


async def _ask(ref: Ref, heartbeat: Heartbeat) -> ProcessInfo | None:
    """Return what a process tells about itself, None when it is dead. Raises TimeoutError when it hangs."""
    clock = asyncio.get_running_loop().time
    while True:
        asked_at = clock()
        try:
            async with asyncio.timeout(heartbeat.silent_s):
                return await _answer(ref)
        except TimeoutError:
            if clock() - asked_at < heartbeat.silent_s + heartbeat.every_s:
                raise
            # Much later than the time limit: it is we who stood still, and the answer may lie unread.


async def _answer(ref: Ref) -> ProcessInfo | None:
    while True:
        try:
            return await ref.info()
        except ProcessDied:
            return None  # the watch tells that, and how
        except RuntimeFault:
            await asyncio.sleep(AGAIN_S)
