"""Calls a named process that may be away for a while: it is looked up again and called again until a deadline.

Only for methods that may be carried out twice, since a call that was lost may have been carried out.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any, Final

from actors.runtime import CallLost, ProcessDied, Ref, Runtime
from undying.protocol.errors import Code, error
from undying.resilience.backoff import Backoff

BACKOFF: Final = Backoff(base_s=0.01, factor=2.0, cap_s=0.25, jitter=0.5)
"""Short: what is away is being restarted by somebody else, and people wait."""


class Reach:
    """A way to the process `name`, whichever process has that name now."""

    def __init__(self, runtime: Runtime, name: str, rng: random.Random, *, deadline_s: float = 10.0) -> None:
        self._runtime = runtime
        self._name = name
        self._rng = rng
        self._deadline_s = deadline_s
        self._ref: Ref | None = None

    async def call(self, method: str, *args: Any) -> Any:
        """Call until answered. Raises UNAVAILABLE after the deadline, ProgramFailed, and what the program raises."""
        try:
            async with asyncio.timeout(self._deadline_s):
                return await self._call(method, args)
        except TimeoutError:
            raise error(Code.UNAVAILABLE, f"{self._name} did not answer in time", process=self._name) from None

    async def _call(self, method: str, args: tuple[Any, ...]) -> Any:
        attempt = 0
        while True:
            ref = self._ref
            try:
                ref = self._ref = ref or await self._runtime.find(self._name)
                if ref is not None:
                    return await ref.call(method, *args)
            except ProcessDied:
                if self._ref is ref:
                    self._ref = None
                if attempt == 0:  # the ref was old: somebody else may have the name already
                    attempt += 1
                    continue
            except CallLost:
                pass  # the process may well live: the same one is asked again
            await asyncio.sleep(BACKOFF.delay(attempt, self._rng))
            attempt += 1
