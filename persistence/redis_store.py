"""The store over Redis (6.2 and up) or Valkey. The only module that names redis.

Two ways lead to the server. *Appends* go over one connection of their own, packed into one buffer, never tried again by
themselves: an XADD that is sent twice would come back as Fenced by itself. Everything else is idempotent and goes through
redis-py's client with a bounded pool and one immediate retry, which spares callers the connection that a restarted server
left behind. Every wait is bounded, so that a store that hangs is unavailable, not a hanging table.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from persistence import redis_format as fmt
from persistence.durability import Durability
from persistence.resp import ProtocolError, Replies, Reply, ReplyError, pack
from persistence.store import Append, Damaged, Entry, Fenced, SavedCheckpoint, StoreUnavailable, distinct_streams
from undying.protocol.ids import Kind
from undying.protocol.position import NOWHERE, Position

Outcome = Fenced | StoreUnavailable | None

VERSION_MIN = (6, 2)
CONNECTIONS_MAX = 8
_READ_BYTES = 1 << 16


class _Pipe:
    """One connection on which commands leave as one buffer and replies are read as they come.

    The owner lets one exchange run at a time. After a failure, or when an exchange is cancelled, the connection is thrown
    away: replies still on their way must not be taken for those of the next exchange.
    """

    def __init__(self, connection: Any, timeout_s: float) -> None:
        self._connection = connection
        self._timeout_s = timeout_s

    async def exchange(self, commands: bytes, count: int, *, same: bool = False) -> tuple[list[Reply], str]:
        """Send commands and return their `count` replies, or the first few and the reason why the others are unknown.

        `same`: only on the connection of the exchange before. Raises StoreUnavailable when nothing was sent.
        """
        replies, sent = Replies(), False
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._ready(same)
                sent = True
                self._writer.write(commands)
                await self._writer.drain()
                while len(replies.ready) < count:
                    data = await self._stream.read(_READ_BYTES)
                    if not data:
                        raise ConnectionError("the store closed the connection")
                    replies.feed(data)
        except (RedisError, ProtocolError, OSError, TimeoutError) as error:
            await self.close()
            reason = str(error) or f"no answer within {self._timeout_s} s"
            if not sent:
                raise StoreUnavailable(f"the store can't be reached: {reason}", unknown=False) from error
            return replies.ready, reason
        except BaseException:
            await self.close()
            raise
        return replies.ready, ""

    async def _ready(self, same: bool) -> None:
        if self._connection.is_connected and not self._stream.at_eof() and self._stream.exception() is None:
            return
        if same:
            raise ConnectionError("the store closed the connection")
        await self.close()
        await self._connection.connect()

    @property
    def _stream(self) -> asyncio.StreamReader:
        # redis-py has no public way to the bytes: it makes the connection (TLS, login), we use it. Reading reply by reply
        # through it costs 15 µs each, writing starts a task.
        return cast(asyncio.StreamReader, self._connection._reader)  # noqa: SLF001

    @property
    def _writer(self) -> asyncio.StreamWriter:
        return cast(asyncio.StreamWriter, self._connection._writer)  # noqa: SLF001

    async def close(self) -> None:
        """Let go of the connection; the next exchange makes a new one."""
        await self._connection.disconnect(nowait=True)


class RedisStore:
    """A handle on a Redis; implements `persistence.store.Store`. Made by `open`; belongs to one event loop."""

    def __init__(self, client: Redis, pipe: _Pipe, durability: Durability, timeout_s: float) -> None:
        self._client = client
        self._pipe = pipe
        self._turn = asyncio.Lock()
        self._timeout_s = timeout_s
        # The server's own wait has to end before ours does.
        wait_ms = max(1, int(timeout_s * 500))
        self._barrier = pack(b"WAITAOF", b"1", b"1", b"%d" % wait_ms) if durability is Durability.REPLICATED else b""

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        durability: Durability = Durability.ALWAYS,
        connect_timeout_s: float = 2.0,
        timeout_s: float = 5.0,
    ) -> RedisStore:
        """Connect to `redis://`, `rediss://` or `unix://` and check that the server can do what is asked of it.

        Raises StoreUnavailable when it can't, or can't be reached, and ValueError for another kind of url.
        """
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS_MAX,
            timeout=timeout_s,
            socket_connect_timeout=connect_timeout_s,
            socket_timeout=timeout_s,
            retry=Retry(NoBackoff(), 1),
            protocol=2,
        )
        single = cast(Any, pool).make_connection()
        single.retry = Retry(NoBackoff(), 0)
        store = cls(Redis.from_pool(pool), _Pipe(single, timeout_s), durability, timeout_s)
        try:
            await store._check_server()
        except BaseException:
            await store.close()
            raise
        return store

    async def _check_server(self) -> None:
        facts = cast(dict[str, Any], await self._ask(self._client.info("server")))
        version = tuple(int(part) for part in str(facts["redis_version"]).split(".")[:2])
        if version < VERSION_MIN:
            raise StoreUnavailable(f"the store is Redis {facts['redis_version']}; 6.2 or later is needed", unknown=False)
        if self._barrier:
            replies, reason = await self._pipe.exchange(self._barrier, 1)
            problem = reason or _barrier_problem(replies[0])
            if problem:
                raise StoreUnavailable(f"durability 'replicated' can't be had: {problem}", unknown=False)

    async def append(self, appends: Sequence[Append]) -> list[Outcome]:
        """See `Store.append`."""
        distinct_streams(appends)
        if not appends:
            return []
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._turn.acquire()
        except TimeoutError:
            return [StoreUnavailable(f"appends wait for longer than {self._timeout_s} s", unknown=False) for _ in appends]
        try:
            plain = [append for append in appends if append.follows is None]
            outcomes = dict(zip((append.stream for append in plain), await self._append_plain(plain), strict=True))
            for append in appends:
                if append.follows is not None:
                    outcomes[append.stream] = await self._append_after(append, append.follows)
            return [outcomes[append.stream] for append in appends]
        finally:
            self._turn.release()

    async def _append_plain(self, appends: Sequence[Append]) -> list[Outcome]:
        if not appends:
            return []
        commands = b"".join([fmt.pack_append(append) for append in appends]) + self._barrier
        try:
            replies, reason = await self._pipe.exchange(commands, len(appends) + bool(self._barrier))
        except StoreUnavailable as error:
            return [StoreUnavailable(str(error), unknown=False) for _ in appends]
        reason = reason or (_barrier_problem(replies[-1]) if self._barrier else "")
        outcomes = [fmt.read_outcome(append, reply) for append, reply in zip(appends, replies, strict=False)]
        if reason:
            # What was refused is known. What was written is known too, unless a replica was to have it as well.
            known = [outcome is not None or not self._barrier for outcome in outcomes]
            known += [False] * (len(appends) - len(outcomes))
            outcomes += [None] * (len(appends) - len(outcomes))
            return [outcomes[at] if known[at] else _lost(reason) for at in range(len(appends))]
        return outcomes

    async def _append_after(self, append: Append, follows: Position) -> Outcome:
        key, fenced = fmt.journal_key(append.stream), Fenced(append.stream, append.entry.position)
        look = pack(b"WATCH", key) + pack(b"XREVRANGE", key, b"+", b"-", b"COUNT", b"1")
        write = pack(b"MULTI") + fmt.pack_append(append) + pack(b"EXEC") + self._barrier
        try:
            seen, reason = await self._pipe.exchange(look, 2)
            if reason or any(isinstance(reply, ReplyError) for reply in seen):
                await self._pipe.close()
                return StoreUnavailable(f"the store can't be read: {reason or repr(seen)}", unknown=False)
            if fmt.read_last(seen[1]) != follows:
                await self._pipe.exchange(pack(b"UNWATCH"), 1)
                return fenced
            replies, reason = await self._pipe.exchange(write, 3 + bool(self._barrier), same=True)
        except StoreUnavailable as error:
            return StoreUnavailable(str(error), unknown=False)
        except Damaged as error:
            await self._pipe.close()
            return StoreUnavailable(str(error), unknown=False)
        if len(replies) < 3:
            return _lost(reason)
        match replies[2]:
            case [reply]:
                outcome = fmt.read_outcome(append, reply)
            case None:
                return fenced
            case refusal:  # EXEC says only that it was refused; why, says the reply to the command itself
                refused = replies[1] if isinstance(replies[1], ReplyError) else refusal
                return StoreUnavailable(f"the store refused a write: {refused!r}", unknown=False)
        problem = reason or (_barrier_problem(replies[3]) if self._barrier else "")
        return _lost(problem) if problem and outcome is None else outcome

    async def last(self, stream: str) -> Position | None:
        """See `Store.last`."""
        rows = await self._rows(stream, self._client.xrevrange(fmt.journal_key(stream), count=1))
        return rows[0].position if rows else None

    async def read(self, stream: str, after: Position, limit: int) -> list[Entry]:
        """See `Store.read`."""
        if limit < 1:
            return []
        start = b"(" + fmt.pack_position(after)
        return await self._rows(stream, self._client.xrange(fmt.journal_key(stream), min=start, count=limit))

    async def first(self, stream: str) -> Entry | None:
        """See `Store.first`."""
        rows = await self._rows(stream, self._client.xrange(fmt.journal_key(stream), count=1))
        return rows[0] if rows else None

    async def _rows(self, stream: str, question: Any) -> list[Entry]:
        rows = cast(list[tuple[bytes, dict[bytes, bytes]]], await self._ask(question))
        return [fmt.read_entry(stream, raw, fields) for raw, fields in rows]

    async def trim(self, stream: str, before: Position) -> int:
        """See `Store.trim`."""
        last = await self.last(stream)
        if last is None:
            return 0
        # The last position only grows, so what was last a moment ago is a safe bound.
        keep_from = min(before.after(1), last)
        return cast(
            int, await self._ask(self._client.xtrim(fmt.journal_key(stream), minid=_text(keep_from), approximate=False))
        )

    async def put_checkpoint(self, stream: str, checkpoint: SavedCheckpoint, keep: int) -> Position | None:
        """See `Store.put_checkpoint`."""
        key = fmt.checkpoints_key(stream)
        await self._ask(self._client.hset(key, fmt.pack_position(checkpoint.position), checkpoint.blob))
        fields = cast(list[bytes], await self._ask(self._client.hkeys(key)))
        # A name that is no position sorts lowest and goes first.
        newest_first = sorted(((fmt.read_position(raw) or NOWHERE, raw) for raw in fields), reverse=True)
        if len(newest_first) > keep:
            await self._ask(self._client.hdel(key, *[raw for _, raw in newest_first[keep:]]))
        return newest_first[keep - 1][0] if len(newest_first) >= keep else None

    async def checkpoints(self, stream: str) -> list[SavedCheckpoint]:
        """See `Store.checkpoints`. One under a name that is no position is returned as NOWHERE, which no seal agrees with."""
        blobs = cast(dict[bytes, bytes], await self._ask(self._client.hgetall(fmt.checkpoints_key(stream))))
        saved = [SavedCheckpoint(fmt.read_position(raw) or NOWHERE, blob) for raw, blob in blobs.items()]
        return sorted(saved, key=lambda checkpoint: checkpoint.position, reverse=True)

    async def add_to_directory(self, kind: Kind, entity_id: str, facts: bytes) -> None:
        """See `Store.add_to_directory`."""
        await self._ask(self._client.hset(fmt.directory_key(kind), entity_id, facts))

    async def directory(self, kind: Kind) -> dict[str, bytes]:
        """See `Store.directory`."""
        rows = cast(dict[bytes, bytes], await self._ask(self._client.hgetall(fmt.directory_key(kind))))
        return {entity_id.decode(): facts for entity_id, facts in rows.items()}

    async def secret(self, name: str, fresh: bytes) -> bytes:
        """See `Store.secret`."""
        key = fmt.secret_key(name)
        await self._ask(self._client.set(key, fresh, nx=True))
        return cast(bytes, await self._ask(self._client.get(key)))

    async def ping(self) -> None:
        """See `Store.ping`."""
        await self._ask(self._client.ping())

    async def close(self) -> None:
        """See `Store.close`."""
        await self._pipe.close()
        await self._client.aclose(close_connection_pool=True)

    async def _ask(self, question: Any) -> Any:
        # redis-py types its answers as "awaitable or not", differently from version to version; callers say what they get.
        try:
            return await question
        except ResponseError as error:
            raise StoreUnavailable(f"the store refused: {error}", unknown=False) from error
        except (RedisError, OSError, TimeoutError) as error:
            raise StoreUnavailable(f"the store does not answer: {error}", unknown=True) from error


def _lost(reason: str) -> StoreUnavailable:
    return StoreUnavailable(f"it is not known whether the store wrote: {reason}", unknown=True)


def _barrier_problem(reply: Reply) -> str:
    match reply:
        case [int(here), int(replicas)] if here >= 1 and replicas >= 1:
            return ""
        case [int(here), int(replicas)]:
            return f"on disk at {here} primary and {replicas} replicas in time"
        case ReplyError(text):
            return text
        case _:
            return "WAITAOF gave an answer without a shape"


def _text(position: Position) -> str:
    return fmt.pack_position(position).decode()
