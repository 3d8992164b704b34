"""The store over Redis (6.2 and up) or Valkey. The only module that names redis.

Two ways lead to the server. *Appends* go over one connection of their own (`persistence.appending`) and are never tried
again by themselves: an XADD that is sent twice would come back as Fenced by itself. Everything else is idempotent and goes
through redis-py's client with a bounded pool and one immediate retry, which spares callers the connection that a restarted
server left behind. Every wait is bounded, so that a store that hangs is unavailable, not a hanging table.

A server that was demoted keeps its connections, and answers reads from old data. So what it refuses as no longer primary
ends them all: the address may lead to its successor.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any, cast

import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ClusterDownError, MovedError, ReadOnlyError, RedisError, ResponseError

from persistence import redis_format as fmt
from persistence.appending import Appender, barrier_problem
from persistence.durability import Durability
from persistence.lineage import keep_of
from persistence.resp import ProtocolError, Replies, Reply, pack
from persistence.store import Append, Damaged, Entry, Outcome, SavedCheckpoint, StoreUnavailable, unreadable
from undying.protocol.ids import Kind
from undying.protocol.position import NOWHERE, Position

log = structlog.get_logger()

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

    async def connect(self) -> bool:
        """See `persistence.appending.Pipe`."""
        if self._usable:
            return False
        try:
            async with asyncio.timeout(self._timeout_s):
                await self.close()
                await self._connection.connect()
        except (RedisError, OSError, TimeoutError) as error:
            await self.close()
            reason = str(error) or f"no connection within {self._timeout_s} s"
            raise StoreUnavailable(f"the store can't be reached: {reason}", unknown=False) from error
        except BaseException:
            await self.close()
            raise
        return True

    async def exchange(self, commands: bytes, count: int) -> tuple[list[Reply], str]:
        """See `persistence.appending.Pipe`."""
        if not self._usable:
            raise StoreUnavailable("the store closed the connection", unknown=False)
        replies = Replies()
        try:
            async with asyncio.timeout(self._timeout_s):
                self._writer.write(commands)
                await self._writer.drain()
                while len(replies.ready) < count:
                    data = await self._stream.read(_READ_BYTES)
                    if not data:
                        raise ConnectionError("the store closed the connection")
                    replies.feed(data)
        except (RedisError, ProtocolError, OSError, TimeoutError) as error:
            await self.close()
            return replies.ready, str(error) or f"no answer within {self._timeout_s} s"
        except BaseException:
            await self.close()
            raise
        return replies.ready, ""

    @property
    def _usable(self) -> bool:
        return self._connection.is_connected and not self._stream.at_eof() and self._stream.exception() is None

    @property
    def _stream(self) -> asyncio.StreamReader:
        # redis-py has no public way to the bytes: it makes the connection (TLS, login), we use it. Reading reply by reply
        # through it costs 15 µs each, writing starts a task.
        return cast(asyncio.StreamReader, self._connection._reader)  # noqa: SLF001

    @property
    def _writer(self) -> asyncio.StreamWriter:
        return cast(asyncio.StreamWriter, self._connection._writer)  # noqa: SLF001

    async def close(self) -> None:
        """Let go of the connection."""
        await self._connection.disconnect(nowait=True)


class RedisStore:
    """A handle on a Redis; implements `persistence.store.Store`. Made by `open`; belongs to one event loop."""

    def __init__(self, client: Redis, pipe: _Pipe, durability: Durability, timeout_s: float) -> None:
        self._client = client
        self._pipe = pipe
        self._timeout_s = timeout_s
        self._renewing_until_s = 0.0
        # The server's own wait has to end before ours does.
        wait_ms = max(1, int(timeout_s * 500))
        self._barrier = pack(b"WAITAOF", b"1", b"1", b"%d" % wait_ms) if durability is Durability.REPLICATED else b""
        self._appender = Appender(pipe, self._barrier, timeout_s, self._renew_connections)

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
            await self._pipe.connect()
            replies, reason = await self._pipe.exchange(self._barrier, 1)
            problem = reason or barrier_problem(replies[0])
            if problem:
                raise StoreUnavailable(f"durability 'replicated' can't be had: {problem}", unknown=False)

    async def append(self, appends: Sequence[Append]) -> list[Outcome]:
        """See `Store.append`."""
        return await self._appender.append(appends)

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
        return [_read_entry(stream, raw, fields) for raw, fields in rows]

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
        last = await self.last(stream)
        if last is not None and last.epoch > checkpoint.position.epoch:
            return None
        # A name that is no position is NOWHERE: it is the oldest, and there may be several of them.
        named = {raw: fmt.read_position(raw) or NOWHERE for raw in fields}
        staying, trim_behind = keep_of(set(named.values()), keep, checkpoint.gaps)
        dropped = [raw for raw, position in named.items() if position not in staying]
        if dropped:
            await self._ask(self._client.hdel(key, *dropped))
        return trim_behind

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

    async def add_to_chronicle(self, rows: Sequence[bytes], keep: int) -> None:
        """See `Store.add_to_chronicle`."""
        pipe = self._client.pipeline(transaction=False)
        for row in rows:
            pipe.xadd(fmt.CHRONICLE_KEY, {b"r": row}, maxlen=keep, approximate=False)
        await self._ask(pipe.execute())

    async def chronicle(self, limit: int) -> list[bytes]:
        """See `Store.chronicle`."""
        if limit < 1:
            return []
        question = self._client.xrevrange(fmt.CHRONICLE_KEY, count=limit)
        return [fields.get(b"r", b"") for _, fields in cast(list[tuple[bytes, dict[bytes, bytes]]], await self._ask(question))]

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
            if isinstance(error, ReadOnlyError | ClusterDownError | MovedError):
                await self._renew_connections()
            raise StoreUnavailable(f"the store refused: {error}", unknown=False) from error
        except (RedisError, OSError, TimeoutError) as error:
            raise StoreUnavailable(f"the store does not answer: {error}", unknown=True) from error
        finally:
            if self._renewing_until_s > asyncio.get_running_loop().time():
                await self._disconnect_idle()

    async def _renew_connections(self) -> None:
        """Part with every connection of the pool: idle ones now, those in use at the end of what they are used for."""
        self._renewing_until_s = asyncio.get_running_loop().time() + self._timeout_s
        await self._disconnect_idle()

    async def _disconnect_idle(self) -> None:
        with contextlib.suppress(RedisError, OSError, TimeoutError):  # a connection that can't be ended well is gone too
            await self._client.connection_pool.disconnect(inuse_connections=False)


def _read_entry(stream: str, raw: bytes, fields: dict[bytes, bytes]) -> Entry:
    try:
        return fmt.read_entry(stream, raw, fields)
    except Damaged as problem:
        position = fmt.read_position(raw)
        if position is None:
            raise
        log.warning("an entry can't be read", stream=stream, why=str(problem))
        return unreadable(position)


def _text(position: Position) -> str:
    return fmt.pack_position(position).decode()
