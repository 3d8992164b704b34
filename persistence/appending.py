"""How entries get into Redis: over one connection of their own, packed into one buffer, never tried again by themselves.

    plain     XADD … XADD                                    the fence alone keeps the order; one round trip
    checked   WATCH, XREVRANGE …, then MULTI, XADD …, EXEC   written only where the journal ends at what the entry follows

Claims are checked, and so is the first entry of each stream over a new connection: the server behind it may be one that
was restarted or promoted without the newest entries that were acknowledged. XADD takes any higher id, so without the look
the journal would go on behind a hole. A server that loses entries loses its connections too, so after that look the fence is
enough. The exception is one that was demoted and promoted again. It refuses writes in between, and the connection is left
then; if there were none, `actors.lives` finds out when it looks at what is idle.

No I/O here; the connection is a port.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

from persistence import redis_format as fmt
from persistence.resp import Reply, ReplyError, pack
from persistence.store import Append, Damaged, Outcome, StoreUnavailable, TailLost, distinct_streams

LOOKS_MAX: Final = 5
"""How often a journal is looked at again when something happened to it between look and write."""
CHECKED_MAX: Final = 10_000
"""Streams of which it is remembered that they were checked; past that all are forgotten, and each is looked at once more."""


class Pipe(Protocol):
    """One connection. The owner lets one exchange run at a time."""

    async def connect(self) -> bool:
        """Make sure there is a connection. Returns whether it is a new one. Raises StoreUnavailable."""
        ...

    async def exchange(self, commands: bytes, count: int) -> tuple[list[Reply], str]:
        """Send commands and return their `count` replies, or the first few and the reason why the others are unknown.

        Raises StoreUnavailable when nothing was sent, as when the connection broke since `connect`.
        """
        ...

    async def close(self) -> None:
        """Let go of the connection."""
        ...


class Appender:
    """The appends of one handle. `barrier` is a command that each write has to wait for, or nothing.

    `moved` is awaited when the server turns out to be another one than it was, or not the one to write to.
    """

    def __init__(self, pipe: Pipe, barrier: bytes, timeout_s: float, moved: Callable[[], Awaitable[None]]) -> None:
        self._pipe = pipe
        self._barrier = barrier
        self._timeout_s = timeout_s
        self._moved = moved
        self._turn = asyncio.Lock()
        self._checked: set[str] = set()

    async def append(self, appends: Sequence[Append]) -> list[Outcome]:
        """See `Store.append`."""
        distinct_streams(appends)
        if not appends:
            return []
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._turn.acquire()
        except TimeoutError:
            return _unavailable(appends, f"appends wait for longer than {self._timeout_s} s")
        try:
            return await self._append(appends)
        finally:
            self._turn.release()

    async def _append(self, appends: Sequence[Append]) -> list[Outcome]:
        try:
            if await self._pipe.connect():
                self._checked.clear()
        except StoreUnavailable as error:
            return _unavailable(appends, str(error))
        unchecked = [append for append in appends if append.stream not in self._checked or append.claims]
        if not unchecked:
            return await self._append_plain(appends)
        first = {append.stream for append in unchecked}
        plain = [append for append in appends if append.stream not in first]
        outcomes = dict(zip((append.stream for append in plain), await self._append_plain(plain), strict=True))
        outcomes.update(await self._append_checked(unchecked))
        return [outcomes[append.stream] for append in appends]

    async def _append_plain(self, appends: Sequence[Append]) -> list[Outcome]:
        if not appends:
            return []
        commands = b"".join([fmt.pack_append(append) for append in appends]) + self._barrier
        try:
            replies, reason = await self._pipe.exchange(commands, len(appends) + bool(self._barrier))
        except StoreUnavailable as error:
            return _unavailable(appends, str(error))
        reason = reason or (barrier_problem(replies[-1]) if self._barrier else "")
        outcomes: list[Outcome] = [fmt.read_outcome(append, reply) for append, reply in zip(appends, replies, strict=False)]
        if outcomes.count(None) < len(outcomes):
            await self._leave_if_moved(replies)
        if reason:
            # What was refused is known. What was written is known too, unless a replica was to have it as well.
            known = [outcome is not None or not self._barrier for outcome in outcomes]
            known += [False] * (len(appends) - len(outcomes))
            outcomes += [None] * (len(appends) - len(outcomes))
            return [outcomes[at] if known[at] else _lost(reason) for at in range(len(appends))]
        return outcomes

    async def _append_checked(self, appends: Sequence[Append]) -> dict[str, Outcome]:
        outcomes: dict[str, Outcome] = {}
        for _ in range(LOOKS_MAX):
            left = [append for append in appends if append.stream not in outcomes]
            if not left:
                return outcomes
            outcomes |= await self._look_and_write(left)
        busy = StoreUnavailable("the journal changes again and again while it is looked at", unknown=False)
        return {append.stream: outcomes.get(append.stream, busy) for append in appends}

    async def _look_and_write(self, appends: Sequence[Append]) -> dict[str, Outcome]:
        """Return what became of them. Those are missing of which it is not known, because their journal changed meanwhile."""
        outcomes: dict[str, Outcome] = {}
        try:
            outcomes |= await self._look(appends)
            writing = [append for append in appends if append.stream not in outcomes]
            if writing:
                outcomes |= await self._write(writing)
            else:
                await self._pipe.exchange(pack(b"UNWATCH"), 1)
        except StoreUnavailable as error:
            outcomes |= {append.stream: error for append in appends if append.stream not in outcomes}
        return outcomes

    async def _look(self, appends: Sequence[Append]) -> dict[str, Outcome]:
        """Watch the journals and return the outcomes of those entries that don't follow their ends."""
        if self._barrier:
            # While the replica is away each try would leave one more claim in the journal of the primary.
            replies, reason = await self._pipe.exchange(self._barrier, 1)
            problem = reason or barrier_problem(replies[0])
            if problem:
                raise StoreUnavailable(f"no replica takes part: {problem}", unknown=False)
        keys = [fmt.journal_key(append.stream) for append in appends]
        looks = [pack(b"XREVRANGE", key, b"+", b"-", b"COUNT", b"1") for key in keys]
        replies, reason = await self._pipe.exchange(pack(b"WATCH", *keys) + b"".join(looks), 1 + len(keys))
        await self._leave_if_moved(replies)
        if reason or isinstance(replies[0], ReplyError):
            await self._pipe.close()
            raise StoreUnavailable(f"the store can't be read: {reason or repr(replies[0])}", unknown=False)
        refused: dict[str, Outcome] = {}
        for append, reply in zip(appends, replies[1:], strict=True):
            try:
                outcome = append.refused_at(fmt.read_last(reply))
            except Damaged as error:
                refused[append.stream] = StoreUnavailable(str(error), unknown=False)
                continue
            if outcome is not None:
                refused[append.stream] = outcome
        if any(isinstance(outcome, TailLost) for outcome in refused.values()):
            await self._moved()
        return refused

    async def _write(self, appends: Sequence[Append]) -> dict[str, Outcome]:
        """Write in one transaction what follows the ends that were looked at."""
        count = len(appends)
        commands = pack(b"MULTI") + b"".join([fmt.pack_append(append) for append in appends]) + pack(b"EXEC") + self._barrier
        replies, reason = await self._pipe.exchange(commands, 2 + count + bool(self._barrier))
        if len(replies) < 2 + count:
            return {append.stream: _lost(reason) for append in appends}
        problem = reason or (barrier_problem(replies[-1]) if self._barrier else "")
        outcomes: dict[str, Outcome] = {}
        match replies[1 + count]:
            case None:
                pass
            case [*results] if len(results) == count:
                for append, reply in zip(appends, results, strict=True):
                    outcome = fmt.read_outcome(append, reply)
                    outcomes[append.stream] = _lost(problem) if problem and outcome is None else outcome
            case refusal:  # EXEC says only that it was refused; why, say the replies to the commands themselves
                queued = zip(appends, replies[1 : 1 + count], strict=True)
                refusals = {append.stream: reply if isinstance(reply, ReplyError) else refusal for append, reply in queued}
                outcomes |= {
                    stream: StoreUnavailable(f"the store refused a write: {said!r}", unknown=False)
                    for stream, said in refusals.items()
                }
        if len(self._checked) + count > CHECKED_MAX:
            self._checked.clear()
        self._checked.update(stream for stream, outcome in outcomes.items() if outcome is None)
        await self._leave_if_moved(replies)
        return outcomes

    async def _leave_if_moved(self, replies: Sequence[Reply]) -> None:
        if any(fmt.is_elsewhere(reply) for reply in replies):
            await self._pipe.close()
            await self._moved()


def barrier_problem(reply: Reply) -> str:
    """Tell what is wrong with the reply to WAITAOF; nothing when the entries are where they should be."""
    match reply:
        case [int(here), int(replicas)] if here >= 1 and replicas >= 1:
            return ""
        case [int(here), int(replicas)]:
            return f"on disk at {here} primary and {replicas} replicas in time"
        case ReplyError(text):
            return text
        case _:
            return "WAITAOF gave an answer without a shape"


def _unavailable(appends: Sequence[Append], reason: str) -> list[Outcome]:
    return [StoreUnavailable(reason, unknown=False) for _ in appends]


def _lost(reason: str) -> StoreUnavailable:
    return StoreUnavailable(f"it is not known whether the store wrote: {reason}", unknown=True)
