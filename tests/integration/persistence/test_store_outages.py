"""What callers of the Redis store see when the server is gone, hangs, is full, or loses an answer."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest
from redis.asyncio import Redis

from persistence.durability import Durability
from persistence.embedded import EmbeddedStore
from persistence.redis_store import RedisStore
from persistence.resp import Reply
from persistence.store import Append, Entry, Fenced, Outcome, SavedCheckpoint, StoreUnavailable, TailLost
from undying.protocol.ids import Kind
from undying.protocol.position import NOWHERE, Position

pytestmark = pytest.mark.store

TABLE = "session:table"
TIMEOUT_S = 0.3


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[EmbeddedStore]:
    server = EmbeddedStore(tmp_path, stop_timeout_s=5)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def store(server: EmbeddedStore) -> AsyncIterator[RedisStore]:
    store = await RedisStore.open(await server.start(), timeout_s=TIMEOUT_S)
    yield store
    await store.close()


def append(epoch: int, seq: int, stream: str = TABLE) -> Append:
    return Append(stream, Entry(Position(epoch, seq), seq, True, b"events"), Position(epoch, seq - 1))


def claim(epoch: int, follows: Position = NOWHERE, stream: str = TABLE) -> Append:
    return Append(stream, Entry(Position(epoch, 0), 0, True, b"claim"), follows)


def unknown(outcomes: list[Outcome]) -> list[bool]:
    """Tell of each outcome, all of them unavailable, whether it is unknown."""
    return [outcome.unknown for outcome in outcomes if isinstance(outcome, StoreUnavailable)]


def signal_server(server: EmbeddedStore, number: signal.Signals) -> None:
    assert server.pid is not None
    os.kill(server.pid, number)


async def test_with_the_server_gone_nothing_was_written_and_it_is_known(store: RedisStore, server: EmbeddedStore) -> None:
    assert await store.append([claim(1)]) == [None]
    await server.stop()
    assert unknown(await store.append([append(1, 1), claim(1, stream="session:b")])) == [False, False]
    assert unknown(await store.append([claim(2, Position(1, 0))])) == [False]


async def test_with_the_server_gone_every_method_says_unavailable(store: RedisStore, server: EmbeddedStore) -> None:
    await server.stop()
    for call in (
        store.last(TABLE),
        store.read(TABLE, NOWHERE, 1),
        store.first(TABLE),
        store.trim(TABLE, NOWHERE),
        store.put_checkpoint(TABLE, SavedCheckpoint(NOWHERE, b""), 3),
        store.checkpoints(TABLE),
        store.add_to_directory(Kind.SESSION, "a", b""),
        store.directory(Kind.SESSION),
        store.secret("signing", b""),
        store.ping(),
    ):
        with pytest.raises(StoreUnavailable):
            await call


async def test_a_handle_works_again_as_soon_as_the_server_is_back(store: RedisStore, server: EmbeddedStore) -> None:
    assert await store.append([claim(1)]) == [None]
    assert await store.last(TABLE) == Position(1, 0)
    await server.stop()
    await server.start()
    assert await store.append([append(1, 1)]) == [None]
    assert await store.last(TABLE) == Position(1, 1)


async def test_a_claim_works_as_soon_as_the_server_is_back(store: RedisStore, server: EmbeddedStore) -> None:
    assert await store.append([claim(1)]) == [None]
    await server.stop()
    await server.start()
    assert await store.append([claim(2, Position(1, 0))]) == [None]


async def test_a_server_that_comes_back_without_its_newest_entries_is_not_written_behind_the_hole(
    store: RedisStore, server: EmbeddedStore
) -> None:
    streams = ["session:a", "session:b", TABLE]
    assert await store.append([claim(1, stream=stream) for stream in streams]) == [None] * 3
    for seq in (1, 2, 3):
        assert await store.append([append(1, seq, stream) for stream in streams]) == [None] * 3
    await server.stop()
    async with Redis.from_url(await server.start()) as admin:
        # What a failover to a replica that lagged leaves behind.
        await admin.xdel("undying:{session:table}:log", "1-3")
        await admin.delete("undying:{session:b}:log")
    behind, gone, whole = await store.append([append(1, 4), append(1, 4, "session:b"), append(1, 4, "session:a")])
    assert isinstance(behind, TailLost)
    assert (behind.last, behind.follows) == (Position(1, 2), Position(1, 3))
    assert isinstance(gone, TailLost)
    assert gone.last == NOWHERE
    assert whole is None
    assert isinstance((await store.append([append(1, 4)]))[0], TailLost)
    assert await store.append([claim(2, Position(1, 2)), append(1, 5, "session:a")]) == [None, None]


async def test_a_server_that_was_demoted_is_left_and_its_successor_found_under_the_same_address(
    store: RedisStore, server: EmbeddedStore
) -> None:
    assert await store.append([claim(1)]) == [None]
    async with Redis.from_url(await server.start()) as admin:
        clients: set[str] = {client["id"] for client in await admin.client_list()}
        await cast(Any, admin).execute_command("REPLICAOF", "127.0.0.1", "1")
        assert unknown(await store.append([append(1, 1)])) == [False]
        with pytest.raises(StoreUnavailable):
            await store.put_checkpoint(TABLE, SavedCheckpoint(Position(1, 0), b""), 3)
        await cast(Any, admin).execute_command("REPLICAOF", "NO", "ONE")
        assert await store.append([append(1, 1)]) == [None]
        assert await store.last(TABLE) == Position(1, 1)
        now = {client["id"]: client for client in await admin.client_list()}
        mine = str(await admin.client_id())
        assert clients & set(now) == {mine}


async def test_a_server_that_hangs_leaves_the_outcome_unknown_in_bounded_time(store: RedisStore, server: EmbeddedStore) -> None:
    assert await store.append([claim(1), claim(1, stream="session:b")]) == [None, None]
    signal_server(server, signal.SIGSTOP)
    try:
        async with asyncio.timeout(10 * TIMEOUT_S):
            assert unknown(await store.append([append(1, 1), append(1, 1, "session:b")])) == [True, True]
    finally:
        signal_server(server, signal.SIGCONT)


async def test_an_answer_that_comes_too_late_is_not_taken_for_the_next_one(store: RedisStore, server: EmbeddedStore) -> None:
    assert await store.append([claim(1)]) == [None]
    signal_server(server, signal.SIGSTOP)
    lost = await store.append([append(1, 1)])
    signal_server(server, signal.SIGCONT)
    assert unknown(lost) == [True]
    # The server did write it; the same entry is refused, and the next one is answered with its own answer.
    async with asyncio.timeout(5):
        while await store.last(TABLE) != Position(1, 1):
            pass  # each look is a round trip
    assert isinstance((await store.append([append(1, 1)]))[0], Fenced)
    assert await store.append([append(1, 2)]) == [None]


async def test_a_cancelled_append_leaves_the_next_one_its_own_answers(store: RedisStore, server: EmbeddedStore) -> None:
    assert await store.append([claim(1), claim(3, stream="session:b")]) == [None, None]
    signal_server(server, signal.SIGSTOP)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(TIMEOUT_S / 3):
            await store.append([append(1, 1)])
    signal_server(server, signal.SIGCONT)
    async with asyncio.timeout(5):
        while await store.last(TABLE) != Position(1, 1):
            pass  # each look is a round trip
    outcomes = await store.append([claim(2, NOWHERE, "session:b"), claim(2, Position(1, 1))])
    assert isinstance(outcomes[0], Fenced)
    assert outcomes[1] is None


async def test_a_server_that_hangs_leaves_reads_unavailable_in_bounded_time(store: RedisStore, server: EmbeddedStore) -> None:
    signal_server(server, signal.SIGSTOP)
    try:
        async with asyncio.timeout(20 * TIMEOUT_S):
            with pytest.raises(StoreUnavailable):
                await store.last(TABLE)
    finally:
        signal_server(server, signal.SIGCONT)


async def test_a_full_server_refuses_and_says_so(store: RedisStore, server: EmbeddedStore) -> None:
    assert await store.append([claim(1, stream="session:b")]) == [None]
    async with Redis.from_url(await server.start()) as admin:
        await admin.config_set("maxmemory", 1)
        for refused in (append(1, 1, "session:b"), claim(1)):
            (outcome,) = await store.append([refused])
            assert isinstance(outcome, StoreUnavailable)
            assert not outcome.unknown
            assert "OOM" in str(outcome)
        await admin.config_set("maxmemory", 0)
    assert await store.append([claim(1, NOWHERE)]) == [None]


def between_look_and_write(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch, happens: Callable[[], Awaitable[object]]
) -> None:
    """Let something happen after a claim has looked at the journal and before it writes."""
    exchange, calls = store._pipe.exchange, list[bytes]()

    async def interrupted(commands: bytes, count: int) -> tuple[list[Reply], str]:
        calls.append(commands)
        if len(calls) == 2:
            await happens()
        return await exchange(commands, count)

    monkeypatch.setattr(store._pipe, "exchange", interrupted)


async def test_a_late_write_of_the_old_epoch_refuses_the_claim_that_did_not_see_it(
    store: RedisStore, server: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = await RedisStore.open(await server.start())
    await old.append([claim(1)])
    between_look_and_write(store, monkeypatch, lambda: old.append([append(1, 1)]))
    (outcome,) = await store.append([claim(2, Position(1, 0))])
    assert isinstance(outcome, Fenced)
    assert await store.last(TABLE) == Position(1, 1)
    assert await store.append([claim(2, Position(1, 1))]) == [None]
    await old.close()


async def test_a_trim_between_look_and_write_makes_the_store_look_again(
    store: RedisStore, server: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = await RedisStore.open(await server.start())
    assert await other.append([claim(1)]) == [None]
    assert await other.append([append(1, 1)]) == [None]
    between_look_and_write(store, monkeypatch, lambda: other.trim(TABLE, Position(1, 0)))
    assert await store.append([append(1, 2)]) == [None]
    await other.close()


async def test_a_claim_whose_connection_breaks_after_the_look_is_not_written(
    store: RedisStore, server: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    between_look_and_write(store, monkeypatch, store._pipe.close)
    assert unknown(await store.append([claim(1, NOWHERE)])) == [False]
    assert await store.last(TABLE) is None


async def test_opening_a_store_that_is_not_there_says_unavailable(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable):
        await RedisStore.open(f"unix://{tmp_path}/nobody.sock", connect_timeout_s=0.2)


async def test_replicated_durability_without_a_replica_is_refused_at_open(server: EmbeddedStore) -> None:
    with pytest.raises(StoreUnavailable, match=r"replicated.*0 replicas"):
        await RedisStore.open(await server.start(), durability=Durability.REPLICATED, timeout_s=TIMEOUT_S)


async def test_replicated_durability_waits_for_the_replica(server: EmbeddedStore, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    replica = EmbeddedStore(tmp_path / "replica")
    primary_url = await server.start()
    try:
        async with Redis.from_url(primary_url) as primary, Redis.from_url(await replica.start()) as follower:
            await primary.config_set("port", port)
            await primary.config_set("repl-diskless-sync-delay", 0)
            await cast(Any, follower).execute_command("REPLICAOF", "127.0.0.1", port)
            async with asyncio.timeout(20):
                while (await cast(Any, primary).execute_command("WAITAOF", 1, 1, 100))[1] < 1:
                    pass
        patient = await RedisStore.open(primary_url, durability=Durability.REPLICATED, timeout_s=20)
        hasty = await RedisStore.open(primary_url, durability=Durability.REPLICATED, timeout_s=3)
        assert await patient.append([claim(1), claim(1, stream="session:b")]) == [None, None]
        assert await hasty.append([append(1, 1), append(1, 1, "session:b")]) == [None, None]
        await replica.stop()
        assert unknown(await hasty.append([append(1, 2), append(1, 2, "session:b")])) == [True, True]
        for _ in range(2):
            # Each would otherwise leave one more claim behind.
            assert unknown(await hasty.append([claim(2, Position(1, 2))])) == [False]
        assert await hasty.last(TABLE) == Position(1, 2)
        await patient.close()
        await hasty.close()
    finally:
        await replica.stop()
