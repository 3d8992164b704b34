"""The client side of `locate`: from a stream's name to the host in which it is live.

For gateways, and for hosts whose entities ask others.
"""

from __future__ import annotations

import asyncio
import random

from actors.runtime import ProgramFailed, Ref, Runtime
from supervision.control_plane import find_surely
from supervision.reach import BACKOFF, NO_WAYS, Reach, Ways
from undying.protocol.errors import Code, error
from undying.protocol.ids import Kind, split_stream

SUPERVISORS = {
    Kind.SESSION: "supervisor:sessions",
    Kind.CHARACTER: "supervisor:characters",
    Kind.PROVIDER: "supervisor:providers",
}
"""Who owns the entities of a kind: names of processes."""


class Locator:
    """Asks the supervisors where entities are. `near` is the asker's own host: when hosts are shared, entities come there."""

    def __init__(
        self,
        runtime: Runtime,
        rng: random.Random,
        *,
        near: str = "",
        deadline_s: float = 10.0,
        ways: Ways = NO_WAYS,
    ) -> None:
        self._runtime = runtime
        self._rng = rng
        self._near = near
        self._deadline_s = deadline_s
        self._owners = {kind: Reach(runtime, name, rng, deadline_s=deadline_s, ways=ways) for kind, name in SUPERVISORS.items()}

    async def host_of(self, stream: str, create: bool = False, avoid: str = "") -> str:
        """Return the name of the host in which the entity is live, bringing it to life when it is not.

        `avoid` is the host on which the caller just saw the entity fail. Waits while a supervisor or the entity is being
        restarted. Raises UndyingError: NOT_FOUND, QUARANTINED, DATABASE_UNAVAILABLE, DATA_DAMAGED, OVERLOADED, and
        UNAVAILABLE after `deadline_s`; ValueError when `stream` is no stream's name.
        """
        kind, _ = split_stream(stream)
        try:
            return str(await self._owners[kind].call("locate", stream, create, avoid, self._near))
        except ProgramFailed as failed:  # a defect of the supervisor's: it must not become one of those who ask
            raise error(Code.UNAVAILABLE, f"{stream} can't be located", stream=stream, reason=str(failed)) from failed

    async def locate(self, stream: str, create: bool = False, avoid: str = "") -> Ref:
        """Return a way to the host in which the entity is live. See `host_of`."""
        attempt = 0
        try:
            async with asyncio.timeout(self._deadline_s):
                while True:
                    host = await self.host_of(stream, create, avoid)
                    ref = await find_surely(host, self._runtime)
                    if ref is not None:
                        return ref
                    avoid = host  # it died since, and the supervisor may not know yet
                    await asyncio.sleep(BACKOFF.delay(attempt, self._rng))
                    attempt += 1
        except TimeoutError:
            raise error(Code.UNAVAILABLE, f"{stream} was not back in time", stream=stream) from None
