"""Questions to the runtime's control plane that are asked until it answers: it may be away for a moment, and then comes back.

For those who can do nothing else without the answer. Whoever calls bounds the time, if it is to be bounded.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from actors.runtime import ProcessInfo, Ref, Runtime, RuntimeFault

AGAIN_S: Final = 0.25
"""Seconds until a question that got lost is asked again."""

_log = logging.getLogger(__name__)


async def find_surely(name: str, runtime: Runtime) -> Ref | None:
    """Find a living process by name; None means that there is none."""
    while True:
        try:
            return await runtime.find(name)
        except RuntimeFault as fault:
            _log.warning("%s can't be looked up: %s", name, fault)
            await asyncio.sleep(AGAIN_S)


async def kill_surely(name: str, runtime: Runtime, known: ProcessInfo | None = None) -> None:
    """End a process at once. No error when it is gone. `known`: see `Runtime.kill`."""
    while True:
        try:
            await runtime.kill(name, known)
        except RuntimeFault as fault:
            _log.warning("%s can't be killed: %s", name, fault)
            await asyncio.sleep(AGAIN_S)
        else:
            return
