"""What may befall the store, the calls between processes and their starts, decided by one random source.

Calm: small delays. Stormy: calls and commits are refused, lost, or carried out with their answer lost, and some are slow;
processes start late, or not.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import TypeVar

from actors.local_processes import caller_is_dead
from actors.runtime import CallLost, ProgramFailed
from persistence.memory import MemoryStore
from persistence.store import Append, Entry, Outcome, SavedCheckpoint, StoreUnavailable
from undying.protocol.ids import Kind
from undying.protocol.position import Position

T = TypeVar("T")


class Weather:
    """Draws what happens next. `storm` is a share from 0 to 1; `store_down` refuses every commit.

    `seen` counts what has happened, by name.
    """

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.storm = 0.0
        self.store_down = False
        self.seen: Counter[str] = Counter()

    def delay_s(self) -> float:
        """Return how long something on the way takes."""
        if self.rng.random() < self.storm * 0.2:
            return self.rng.uniform(0.05, 1.5)
        return self.rng.uniform(0.0002, 0.003)

    def strikes(self, share: float) -> bool:
        """Tell whether a mishap of this likeliness at full storm happens now."""
        return self.rng.random() < self.storm * share

    async def before_call(self, src: str, dst: str, method: str) -> None:
        """Delay a call between processes, or lose it."""
        await asyncio.sleep(self.delay_s())
        if self.strikes(0.02):
            raise CallLost(f"{method} to {dst} got lost")

    async def after_call(self, src: str, dst: str, method: str) -> None:
        """Delay the answer to a call, or lose it."""
        await asyncio.sleep(self.delay_s())
        if self.strikes(0.02):
            raise CallLost(f"the answer to {method} from {dst} got lost")

    async def before_spawn(self, name: str) -> None:
        """Let the start of a process take long, or fail."""
        if self.strikes(0.2):
            self.seen["a process starts late"] += 1
            await asyncio.sleep(self.rng.expovariate(0.5))
        if self.strikes(0.2):
            self.seen["a process does not start"] += 1
            raise self.rng.choice([CallLost, ProgramFailed])(f"{name} does not start")


class FaultyStore:
    """A `persistence.store.Store` behind the weather. What was sent may land after its sender died."""

    def __init__(self, inner: MemoryStore, weather: Weather) -> None:
        self._inner = inner
        self._weather = weather

    async def append(self, appends: Sequence[Append]) -> list[Outcome]:
        """Write, perhaps only a part, perhaps without an answer."""
        weather = self._weather
        if caller_is_dead() or weather.store_down or weather.strikes(0.05):
            return [StoreUnavailable("refused", unknown=False) for _ in appends]
        lost = weather.strikes(0.06)
        landing = list(appends)[: weather.rng.randrange(len(appends) + 1)] if lost else appends
        outcomes = await self._landed(lambda: self._inner.append(landing)) if landing else []
        if lost:
            return [StoreUnavailable("no answer", unknown=True) for _ in appends]
        return outcomes

    async def _landed(self, work: Callable[[], Awaitable[T]]) -> T:
        """Let work be done by the store's own side: it lands whether or not the sender still lives."""

        async def land() -> T:
            await asyncio.sleep(self._weather.delay_s())
            return await work()

        task = asyncio.get_running_loop().create_task(land(), context=Context())
        return await asyncio.shield(task)

    async def _ask(self, work: Callable[[], Awaitable[T]]) -> T:
        if caller_is_dead() or self._weather.store_down or self._weather.strikes(0.03):
            raise StoreUnavailable("down", unknown=False)
        await asyncio.sleep(self._weather.delay_s())
        return await work()

    async def last(self, stream: str) -> Position | None:
        """See `Store`."""
        return await self._ask(lambda: self._inner.last(stream))

    async def read(self, stream: str, after: Position, limit: int) -> list[Entry]:
        """See `Store`."""
        return await self._ask(lambda: self._inner.read(stream, after, limit))

    async def first(self, stream: str) -> Entry | None:
        """See `Store`."""
        return await self._ask(lambda: self._inner.first(stream))

    async def trim(self, stream: str, before: Position) -> int:
        """Refuse to forget: the checker wants the whole journal. Trimming has tests of its own."""
        return 0

    async def put_checkpoint(self, stream: str, checkpoint: SavedCheckpoint, keep: int) -> Position | None:
        """See `Store`."""
        return await self._ask(lambda: self._inner.put_checkpoint(stream, checkpoint, keep))

    async def checkpoints(self, stream: str) -> list[SavedCheckpoint]:
        """See `Store`."""
        return await self._ask(lambda: self._inner.checkpoints(stream))

    async def add_to_directory(self, kind: Kind, entity_id: str, facts: bytes) -> None:
        """See `Store`."""
        await self._ask(lambda: self._inner.add_to_directory(kind, entity_id, facts))

    async def directory(self, kind: Kind) -> dict[str, bytes]:
        """See `Store`."""
        return await self._ask(lambda: self._inner.directory(kind))

    async def secret(self, name: str, fresh: bytes) -> bytes:
        """See `Store`."""
        return await self._ask(lambda: self._inner.secret(name, fresh))

    async def add_to_chronicle(self, rows: Sequence[bytes], keep: int) -> None:
        """See `Store`."""
        await self._ask(lambda: self._inner.add_to_chronicle(rows, keep))

    async def chronicle(self, limit: int) -> list[bytes]:
        """See `Store`."""
        return await self._ask(lambda: self._inner.chronicle(limit))

    async def ping(self) -> None:
        """See `Store`."""
        await self._ask(self._inner.ping)

    async def close(self) -> None:
        """See `Store`."""


def now_ms() -> int:
    """Return the virtual time in ms since 1970."""
    return 1_700_000_000_000 + int(asyncio.get_running_loop().time() * 1000)
