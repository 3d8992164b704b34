"""Which entities live in a host, and how each comes and goes.

    absent ──activate▶ activating ──▶ live ──lost▶ absent          thrown away: lost, and activated again here
       └────roll_back────▶┘

What loses an entity:

- fenced: somebody claimed a higher epoch. It lives elsewhere (`moved`).
- the outcome of its append is unknown, or the store refused: the incarnation is thrown away (`store`), and rebuilt as soon
  as the store answers.
- its rules raised: the same.
- the store lost entries that it had acknowledged: the same. What the store still has becomes the truth, and the epoch after
  that is higher than the lost one, so that nobody takes new events for those that follow where they were.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, TypeAlias

import structlog

from actors.incarnation import Incarnation
from actors.waiters import Loss, Waiter
from persistence.store import Store, StoreError, StoreUnavailable
from undying.protocol.errors import Code, UndyingError, error
from undying.protocol.position import NOWHERE, Position
from undying.resilience.backoff import Backoff
from undying.resilience.tasks import vital

log = structlog.get_logger()

Life: TypeAlias = Incarnation[Any, Waiter]

VERIFY_S: Final = 10.0
"""Seconds between two looks at whether the entities here are still the ones that may write."""
REVIVE: Final = Backoff(base_s=0.05, cap_s=2.0)
ASK_STORE: Final = Backoff(base_s=0.02, cap_s=0.25)
"""Between two questions whether the store is back: one for all entities of a host, so it may be asked often."""
ATTEMPTS_COUNTED: Final = 3
"""Of failures of the store: once it answers nobody is to wait longer than half a second more."""


class Dependents(Protocol):
    """Who has to know of each life: the host."""

    def born(self, life: Life) -> None:
        """Learn that an entity lives here from now on."""
        ...

    def lost(self, life: Life, reason: Loss) -> None:
        """Learn that it does not live here any more; whoever waits for it or follows it has to be told."""
        ...


class Lives:
    """The entities of one host. `rebuild` makes a life (stream, create, above: see `actors.activation.activate`).

    `settled` is held while a commit is under way.
    """

    def __init__(
        self,
        store: Store,
        rebuild: Callable[[str, bool, int], Awaitable[Life]],
        dependents: Dependents,
        settled: asyncio.Lock,
        rng: random.Random,
    ) -> None:
        self.live: dict[str, Life] = {}
        self.draining = False
        self._store = store
        self._rebuild = rebuild
        self._dependents = dependents
        self._settled = settled
        self._rng = rng
        self._activating: dict[str, asyncio.Task[Life]] = {}
        self._reviving: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._asking: asyncio.Task[None] | None = None

    async def activate(self, stream: str, create: bool) -> Life:
        """Make the entity live here. While it is live already, nothing happens. See `Host.activate`."""
        if self.draining:
            raise error(Code.DRAINING, "this host is going down")
        life = self.live.get(stream)
        if life is not None:
            return life
        task = self._activating.get(stream)
        if task is None:
            task = self._begin(stream, self._rebuild(stream, create, self._reviving.get(stream, 0)))
        return await asyncio.shield(task)

    async def roll_back(self, stream: str, rebuilt: Callable[[], Awaitable[Life]]) -> Life:
        """Make the entity live here as `rebuilt` rolls it back. Raises UndyingError WRONG_STATE when it lives already."""
        if self.draining:
            raise error(Code.DRAINING, "this host is going down")
        if stream in self.live or stream in self._activating:
            raise error(Code.WRONG_STATE, f"{stream} is alive: only what is not can be rolled back", stream=stream)
        return await asyncio.shield(self._begin(stream, rebuilt()))

    def _begin(self, stream: str, rebuilding: Awaitable[Life]) -> asyncio.Task[Life]:
        task = self._activating[stream] = asyncio.create_task(self._activate(stream, rebuilding))
        task.add_done_callback(lambda _: self._activating.pop(stream, None))
        return task

    def lose(self, life: Life, reason: Loss) -> None:
        """Let an entity go, if it is still this one that lives here. Not while a commit of it is under way."""
        if self.live.get(life.stream) is life:
            del self.live[life.stream]
            self._dependents.lost(life, reason)

    def throw_away(self, life: Life) -> None:
        """Lose an entity and bring it back here from what the journal says."""
        self.lose(life, "store")
        revived = life.stream in self._reviving
        self._reviving[life.stream] = life.position.epoch
        if not revived:
            task = vital(self._revive(life.stream), f"the revival of {life.stream}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def tail_lost(self, life: Life, last: Position) -> None:
        """Throw away an entity of which the store has only what is up to `last`."""
        acknowledged = life.position
        log.error("the store lost what was acknowledged", stream=life.stream, acknowledged=[*acknowledged], stored=[*last])
        self.throw_away(life)

    def why_not(self, stream: str) -> Loss:
        """Tell why an entity is not live here."""
        return "store" if stream in self._reviving else "moved"

    async def verify(self) -> None:
        """Find out again and again whether what lives here is still what the journals hold.

        An entity that was given another host while this process hung, or was cut off, would learn of it only by its next
        write; whoever follows it here would wait for events that happen elsewhere. The same holds for one of which the
        store lost the end.
        """
        while True:
            await asyncio.sleep(VERIFY_S)
            for life in list(self.live.values()):
                try:
                    await self._look(life)
                except StoreError as failure:
                    log.info("not verified", stream=life.stream, reason=str(failure))
                    if isinstance(failure, StoreUnavailable):
                        break

    def stop(self) -> None:
        """Bring nothing back any more."""
        for task in self._tasks:
            task.cancel()

    async def _look(self, life: Life) -> None:
        before = life.position
        if await self._store.last(life.stream) in (before, life.position):
            return
        # It may be that a commit has landed and is not settled yet. While none is under way the two must agree; and what
        # landed before a claim is told before the loss.
        async with self._settled:
            if self.live.get(life.stream) is not life:
                return
            last = await self._store.last(life.stream) or NOWHERE
            if last < life.position:
                self.tail_lost(life, last)
            elif last > life.position:
                log.warning("fenced", stream=life.stream, epoch=life.position.epoch)
                self.lose(life, "moved")

    async def _activate(self, stream: str, rebuilding: Awaitable[Life]) -> Life:
        life = await rebuilding
        self.live[stream] = life
        self._dependents.born(life)
        log.info("live", stream=stream, epoch=life.position.epoch)
        return life

    async def _until_store_answers(self) -> None:
        """Return when the store answers; all who wait share the asking."""
        if self._asking is None or self._asking.done():
            self._asking = vital(self._ask_store(), "asking the store")
            self._tasks.add(self._asking)
            self._asking.add_done_callback(self._tasks.discard)
        await asyncio.shield(self._asking)

    async def _ask_store(self) -> None:
        attempt = 0
        while True:
            try:
                await self._store.ping()
            except StoreUnavailable:
                await asyncio.sleep(ASK_STORE.delay(attempt, self._rng))
                attempt += 1
            else:
                return

    async def _revive(self, stream: str) -> None:
        attempt = 0
        try:
            while not self.draining and stream not in self.live:
                try:
                    await self.activate(stream, create=False)
                except UndyingError as failure:
                    if not failure.failure.row.recoverable:
                        log.exception("can't be revived", stream=stream)
                        return
                    await asyncio.sleep(REVIVE.delay(attempt, self._rng))
                    attempt += 1
                    if failure.failure.code is Code.DATABASE_UNAVAILABLE:
                        await self._until_store_answers()
                        attempt = min(attempt, ATTEMPTS_COUNTED)
        finally:
            del self._reviving[stream]
