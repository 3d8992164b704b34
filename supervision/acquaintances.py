"""The ways to all processes that may become somebody's home, found and tried before one is needed.

To look a name up and to open a connection takes some ms each, and when a table's process was killed its players wait for them.
So whoever places entities gets to know spares while it has nothing else to do. What is not known yet is looked up when needed.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from actors.runtime import Ref, Runtime, RuntimeFault
from supervision.adoption import PREFIX

LOOK_S: Final = 1.0
"""Seconds between two looks at who is new. A new spare is warm after about as long."""

ANSWER_S: Final = 1.0
"""Seconds that one has to answer, or it is asked again at the next look."""

_log = logging.getLogger(__name__)


class Acquaintances:
    """The processes whose names begin with PREFIX, by name. Bounded by how many live."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._refs: dict[str, Ref] = {}

    def get(self, name: str) -> Ref | None:
        """Return the way to a process if it is known."""
        return self._refs.get(name)

    def add(self, ref: Ref) -> None:
        """Remember a process."""
        self._refs[ref.name] = ref

    def forget(self, name: str) -> None:
        """Forget a process that is gone."""
        self._refs.pop(name, None)

    async def keep_up(self) -> None:
        """Get to know who is new, and forget who is gone, again and again."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self._look()
            except RuntimeFault as fault:
                _log.info("no look at who is new: %s", fault)

    async def _look(self) -> None:
        names = {name for name in await self._runtime.names() if name.startswith(PREFIX)}
        self._refs = {name: ref for name, ref in self._refs.items() if name in names}
        for name in sorted(names - self._refs.keys()):
            try:
                async with asyncio.timeout(ANSWER_S):
                    await self._get_to_know(name)
            except (RuntimeFault, TimeoutError) as problem:
                _log.info("%s does not answer yet: %r", name, problem)

    async def _get_to_know(self, name: str) -> None:
        ref = await self._runtime.find(name)
        if ref is not None:
            await ref.info()
            self._refs[name] = ref
