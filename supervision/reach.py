"""Calls a named process that may be away for a while: it is looked up again and called again until a deadline.

Only for methods that may be carried out twice, since a call that was lost may have been carried out. On one machine a call
goes over a direct stream (`actors.direct`) where the process listens for that, which takes a fraction of the runtime's time;
else, and whenever that fails, by the runtime.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from actors.direct import DirectCaller, DirectServer, connect
from actors.runtime import CallLost, ProcessDied, ProgramFailed, Ref, Runtime, RuntimeFault
from undying.protocol.errors import Code, error
from undying.resilience.backoff import Backoff

BACKOFF: Final = Backoff(base_s=0.01, factor=2.0, cap_s=0.25, jitter=0.5)
"""Short: what is away is being restarted by somebody else, and people wait."""


DIRECT: Final[Mapping[str, frozenset[str]]] = {
    "supervisor:hosts": frozenset({"acquire"}),
    "supervisor:sessions": frozenset({"locate"}),
    "supervisor:characters": frozenset({"locate"}),
    "supervisor:providers": frozenset({"locate"}),
}
"""The methods for which processes listen: those that people wait for when something died."""

Sockets: TypeAlias = Callable[[str], Path]
"""Tells where a process would listen on this machine."""


@dataclass(frozen=True, slots=True)
class Ways:
    """Where processes of one server listen for direct streams; None: nowhere."""

    sockets: Sockets | None = None

    def server(self, name: str) -> DirectServer:
        """Make what lets others on this machine call a process."""
        return DirectServer(None if self.sockets is None else self.sockets(name), DIRECT.get(name, frozenset()))


NO_WAYS: Final = Ways()


class Reach:
    """A way to the process `name`, whichever process has that name now."""

    def __init__(
        self, runtime: Runtime, name: str, rng: random.Random, *, deadline_s: float = 10.0, ways: Ways = NO_WAYS
    ) -> None:
        self._runtime = runtime
        self._name = name
        self._rng = rng
        self._deadline_s = deadline_s
        self._ref: Ref | None = None
        self._methods = DIRECT.get(name, frozenset())
        self._socket = ways.sockets(name) if ways.sockets is not None and self._methods else None
        self._stream: DirectCaller | None = None
        self._opening = asyncio.Lock()

    async def call(self, method: str, *args: Any) -> Any:
        """Call until answered. Raises UNAVAILABLE after the deadline, ProgramFailed, and what the program raises."""
        try:
            async with asyncio.timeout(self._deadline_s):
                return await self._call(method, args)
        except TimeoutError:
            raise error(Code.UNAVAILABLE, f"{self._name} did not answer in time", process=self._name) from None

    async def _call(self, method: str, args: tuple[Any, ...]) -> Any:
        if self._socket is not None and method in self._methods:
            stream: DirectCaller | None = None
            try:
                stream = await self._open(self._socket)
                return await stream.call(method, *args)
            except ProgramFailed:
                raise
            except RuntimeFault:
                if stream is not None and self._stream is stream:
                    self._stream = None
                    stream.close()
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

    async def _open(self, socket: Path) -> DirectCaller:
        """Return the one stream that all calls share. Raises CallLost when there can be none."""
        async with self._opening:
            if self._stream is None:
                self._stream = await connect(socket)
            return self._stream
