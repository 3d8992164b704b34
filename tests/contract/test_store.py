"""What every store promises, over memory and over Redis alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest

from persistence.lineage import Gap
from persistence.memory import MemoryDatabase, MemoryStore
from persistence.redis_store import RedisStore
from persistence.store import Append, Entry, Fenced, SavedCheckpoint, Store, TailLost
from undying.protocol.ids import Kind
from undying.protocol.position import NOWHERE, Position

TABLE = "session:table"
Open = Callable[[], Awaitable[Store]]


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.store)])
def url(request: pytest.FixtureRequest) -> str | None:
    return None if request.param == "memory" else str(request.getfixturevalue("store_url"))


@pytest.fixture
async def open_store(url: str | None) -> AsyncIterator[Open]:
    """Open any number of handles on one empty database."""
    opened: list[Store] = []
    database = MemoryDatabase()

    async def open_one() -> Store:
        opened.append(MemoryStore(database) if url is None else await RedisStore.open(url))
        return opened[-1]

    yield open_one
    for store in opened:
        await store.close()


@pytest.fixture
async def store(open_store: Open) -> Store:
    return await open_store()


def entry(epoch: int, first: int, last: int | None = None, body: bytes = b"events") -> Entry:
    return Entry(Position(epoch, first if last is None else last), first, True, body)


def claim(epoch: int, follows: Position = NOWHERE, stream: str = TABLE) -> Append:
    return Append(stream, entry(epoch, 0), follows)


def events(epoch: int, first: int, last: int | None = None, stream: str = TABLE) -> Append:
    return Append(stream, entry(epoch, first, last), Position(epoch, first - 1))


async def write(store: Store, *positions: tuple[int, int], stream: str = TABLE) -> None:
    """Write entries up to these positions, each behind the end of the journal; seq 0 is a claim."""
    for epoch, seq in positions:
        last = await store.last(stream) or NOWHERE
        written = claim(epoch, last, stream) if seq == 0 else events(epoch, last.seq + 1, seq, stream)
        assert await store.append([written]) == [None]


def is_tail_lost(outcome: object, last: Position, follows: Position) -> bool:
    return isinstance(outcome, TailLost) and (outcome.stream, outcome.last, outcome.follows) == (TABLE, last, follows)


async def positions(store: Store, stream: str = TABLE) -> list[tuple[int, int]]:
    return [(kept.position.epoch, kept.position.seq) for kept in await store.read(stream, NOWHERE, 1000)]


def is_fenced(outcome: object, at: tuple[int, int], stream: str = TABLE) -> bool:
    return isinstance(outcome, Fenced) and outcome.stream == stream and outcome.position == Position(*at)


async def test_an_entry_comes_back_as_it_was_written(store: Store) -> None:
    await write(store, (3, 0), (3, 6))
    written = Entry(Position(3, 9), 7, False, b"\x00body\r\n", b"answers\xff", b"$-1\r\n")
    assert await store.append([Append(TABLE, written, Position(3, 6))]) == [None]
    assert await store.read(TABLE, Position(3, 6), 10) == [written]


async def test_empty_bytes_come_back_empty(store: Store) -> None:
    written = Entry(Position(1, 0), 0, True, b"")
    await store.append([Append(TABLE, written, NOWHERE)])
    assert await store.first(TABLE) == written


async def test_an_unknown_stream_has_neither_first_nor_last_nor_entries(store: Store) -> None:
    assert await store.last(TABLE) is None
    assert await store.first(TABLE) is None
    assert await store.read(TABLE, NOWHERE, 10) == []
    assert await store.trim(TABLE, Position(9, 9)) == 0
    assert await store.checkpoints(TABLE) == []


async def test_last_is_the_position_of_the_newest_entry(store: Store) -> None:
    await write(store, (1, 0), (1, 4), (2, 0))
    assert await store.last(TABLE) == Position(2, 0)


async def test_of_two_claims_of_one_epoch_the_first_wins(open_store: Open) -> None:
    one, other = await open_store(), await open_store()
    assert await one.append([claim(1)]) == [None]
    (outcome,) = await other.append([claim(1)])
    assert is_fenced(outcome, (1, 0))


async def test_after_a_claim_every_write_of_an_older_epoch_is_refused(open_store: Open) -> None:
    old, new = await open_store(), await open_store()
    await write(old, (1, 0), (1, 1))
    await write(new, (2, 0))
    (outcome,) = await old.append([events(1, 2)])
    assert is_fenced(outcome, (1, 2))
    assert await positions(new) == [(1, 0), (1, 1), (2, 0)]


async def test_a_position_is_written_once(store: Store) -> None:
    await write(store, (1, 0), (1, 1))
    (outcome,) = await store.append([Append(TABLE, entry(1, 1, body=b"another"), Position(1, 0))])
    assert is_fenced(outcome, (1, 1))
    assert [kept.body for kept in await store.read(TABLE, Position(1, 0), 10)] == [b"events"]


async def test_nowhere_is_no_position_to_write_at(store: Store) -> None:
    (outcome,) = await store.append([claim(0)])
    assert is_fenced(outcome, (0, 0))


async def test_a_claim_is_written_when_the_journal_ends_where_it_says(store: Store) -> None:
    assert await store.append([claim(1, NOWHERE)]) == [None]
    await write(store, (1, 3))
    assert await store.append([claim(2, Position(1, 3))]) == [None]
    assert await positions(store) == [(1, 0), (1, 3), (2, 0)]


@pytest.mark.parametrize("follows", [NOWHERE, Position(1, 2)])
async def test_a_claim_is_fenced_when_the_journal_is_ahead_of_what_it_follows(store: Store, follows: Position) -> None:
    await write(store, (1, 0), (1, 3))
    (outcome,) = await store.append([claim(2, follows)])
    assert is_fenced(outcome, (2, 0))
    assert await positions(store) == [(1, 0), (1, 3)]
    await write(store, (1, 4))


async def test_a_claim_behind_an_end_that_the_journal_does_not_have_is_told_that_the_tail_is_lost(store: Store) -> None:
    (outcome,) = await store.append([claim(2, Position(1, 3))])
    assert is_tail_lost(outcome, NOWHERE, Position(1, 3))
    assert await store.last(TABLE) is None
    await write(store, (1, 0), (1, 3))
    (outcome,) = await store.append([claim(2, Position(1, 9))])
    assert is_tail_lost(outcome, Position(1, 3), Position(1, 9))
    assert await positions(store) == [(1, 0), (1, 3)]


async def test_over_a_new_connection_events_are_not_written_behind_a_hole(open_store: Open) -> None:
    one, other = await open_store(), await open_store()
    (outcome,) = await other.append([events(1, 9, 12)])
    assert is_tail_lost(outcome, NOWHERE, Position(1, 8))
    await write(one, (1, 0), (1, 5))
    for first in (9, 7):
        (outcome,) = await other.append([events(1, first, 12)])
        assert is_tail_lost(outcome, Position(1, 5), Position(1, first - 1))
    assert await positions(one) == [(1, 0), (1, 5)]
    assert await other.append([events(1, 6, 12)]) == [None]
    assert await other.append([events(1, 13)]) == [None]


async def test_over_a_new_connection_events_that_a_newer_claim_fences_are_refused(open_store: Open) -> None:
    one, other = await open_store(), await open_store()
    await write(one, (1, 0), (1, 5), (2, 0))
    (outcome,) = await other.append([events(1, 6)])
    assert is_fenced(outcome, (1, 6))


async def test_streams_over_a_new_connection_are_looked_at_together_and_have_outcomes_of_their_own(open_store: Open) -> None:
    one, other = await open_store(), await open_store()
    for stream in ("session:a", "session:b", "session:c"):
        await write(one, (1, 0), (1, 2), stream=stream)
    await write(one, (2, 0), stream="session:b")
    appends = [events(1, 3, stream="session:a"), events(1, 3, stream="session:b"), events(1, 9, stream="session:c")]
    outcomes = await other.append([*appends, claim(1, stream="session:d")])
    assert [outcomes[0], outcomes[3]] == [None, None]
    assert is_fenced(outcomes[1], (1, 3), "session:b")
    assert isinstance(outcomes[2], TailLost)
    assert await positions(one, "session:a") == [(1, 0), (1, 2), (1, 3)]


async def test_streams_of_one_append_succeed_and_fail_apart(store: Store) -> None:
    await write(store, (5, 0))
    await write(store, (1, 0), stream="session:b")
    claims = [claim(1, stream="session:a"), claim(1, stream="character:c")]
    outcomes = await store.append([claims[0], events(4, 1), claims[1], events(1, 1, stream="session:b")])
    assert outcomes[0] is None
    assert is_fenced(outcomes[1], (4, 1))
    assert outcomes[2:] == [None, None]
    assert await positions(store, "session:b") == [(1, 0), (1, 1)]


async def test_an_append_of_nothing_does_nothing(store: Store) -> None:
    assert await store.append([]) == []


async def test_appends_of_one_handle_may_be_under_way_at_once(store: Store) -> None:
    streams = [f"session:{number}" for number in range(20)]
    outcomes = await asyncio.gather(*(store.append([claim(1, stream=stream)]) for stream in streams))
    assert outcomes == [[None]] * 20
    assert [await positions(store, stream) for stream in streams] == [[(1, 0)]] * 20


async def test_one_append_takes_a_stream_once(store: Store) -> None:
    with pytest.raises(ValueError, match="twice"):
        await store.append([claim(1), events(1, 1)])
    assert await store.last(TABLE) is None


async def test_entries_are_read_in_order_of_epoch_then_seq(store: Store) -> None:
    await write(store, (1, 0), (1, 9), (1, 10), (2, 0), (2, 2), (10, 0))
    assert await positions(store) == [(1, 0), (1, 9), (1, 10), (2, 0), (2, 2), (10, 0)]


async def test_reading_in_pages_gives_every_entry_once(store: Store) -> None:
    await write(store, (1, 0), *((1, seq) for seq in range(1, 8)))
    seen: list[Position] = []
    after = NOWHERE
    while page := await store.read(TABLE, after, 3):
        assert len(page) <= 3
        seen += [kept.position for kept in page]
        after = seen[-1]
    assert seen == [Position(1, seq) for seq in range(8)]


async def test_a_limit_of_zero_reads_nothing(store: Store) -> None:
    await write(store, (1, 0))
    assert await store.read(TABLE, NOWHERE, 0) == []


async def test_trim_forgets_up_to_and_with_the_position(store: Store) -> None:
    await write(store, (1, 0), (1, 3), (1, 6), (2, 0))
    assert await store.trim(TABLE, Position(1, 3)) == 2
    assert await positions(store) == [(1, 6), (2, 0)]
    first = await store.first(TABLE)
    assert first is not None
    assert first.position == Position(1, 6)


async def test_trim_keeps_an_entry_that_ends_after_the_position(store: Store) -> None:
    await write(store, (1, 0))
    await write(store, (1, 5))
    assert await store.trim(TABLE, Position(1, 4)) == 1
    assert await positions(store) == [(1, 5)]


async def test_trim_never_drops_the_last_entry_nor_the_fence_with_it(store: Store) -> None:
    await write(store, (1, 0), (1, 1))
    assert await store.trim(TABLE, Position(9, 9)) == 1
    assert await positions(store) == [(1, 1)]
    (outcome,) = await store.append([events(1, 1)])
    assert is_fenced(outcome, (1, 1))


def saved(epoch: int, seq: int) -> SavedCheckpoint:
    return SavedCheckpoint(Position(epoch, seq), b"state %d-%d" % (epoch, seq))


async def test_checkpoints_come_newest_first_by_number_not_by_text(store: Store) -> None:
    for epoch, seq in [(1, 9), (1, 100), (10, 1)]:
        await store.put_checkpoint(TABLE, saved(epoch, seq), keep=3)
    assert await store.checkpoints(TABLE) == [saved(10, 1), saved(1, 100), saved(1, 9)]


async def test_only_the_newest_checkpoints_are_kept_and_the_oldest_of_them_is_told(store: Store) -> None:
    assert await store.put_checkpoint(TABLE, saved(1, 1), keep=2) is None
    assert await store.put_checkpoint(TABLE, saved(1, 2), keep=2) == Position(1, 1)
    assert await store.put_checkpoint(TABLE, saved(1, 3), keep=2) == Position(1, 2)
    assert await store.checkpoints(TABLE) == [saved(1, 3), saved(1, 2)]


async def test_a_late_checkpoint_does_not_hide_a_newer_one(store: Store) -> None:
    await store.put_checkpoint(TABLE, saved(2, 5), keep=1)
    assert await store.put_checkpoint(TABLE, saved(1, 8), keep=1) == Position(2, 5)
    assert await store.checkpoints(TABLE) == [saved(2, 5)]


async def test_checkpoints_that_were_rolled_back_over_are_dropped_first_and_do_not_count_for_trimming(store: Store) -> None:
    for epoch, seq in [(1, 2), (2, 2), (3, 9)]:
        await store.put_checkpoint(TABLE, saved(epoch, seq), keep=3)
    gap = Gap(Position(1, 2), Position(3, 9))
    assert await store.put_checkpoint(TABLE, replace(saved(4, 5), gaps=(gap,)), keep=3) is None
    assert await store.checkpoints(TABLE) == [saved(4, 5), saved(3, 9), saved(1, 2)]
    assert await store.put_checkpoint(TABLE, replace(saved(4, 9), gaps=(gap,)), keep=3) == Position(1, 2)
    assert await store.checkpoints(TABLE) == [saved(4, 9), saved(4, 5), saved(1, 2)]


async def test_a_checkpoint_of_an_epoch_that_is_over_drops_nothing(store: Store) -> None:
    await write(store, (1, 0), (1, 3), (2, 0))
    assert await store.put_checkpoint(TABLE, saved(1, 1), keep=1) is None
    assert await store.put_checkpoint(TABLE, saved(1, 3), keep=1) is None
    assert await store.checkpoints(TABLE) == [saved(1, 3), saved(1, 1)]
    assert await store.put_checkpoint(TABLE, saved(2, 0), keep=1) == Position(2, 0)
    assert await store.checkpoints(TABLE) == [saved(2, 0)]


async def test_checkpoints_of_different_streams_are_apart(store: Store) -> None:
    await store.put_checkpoint(TABLE, saved(1, 1), keep=3)
    assert await store.checkpoints("session:other") == []


async def test_the_directory_lists_a_kind_and_the_last_writer_wins(store: Store) -> None:
    await store.add_to_directory(Kind.SESSION, "a", b"one")
    await store.add_to_directory(Kind.SESSION, "b", b"two")
    await store.add_to_directory(Kind.SESSION, "a", b"three")
    await store.add_to_directory(Kind.CHARACTER, "c", b"four")
    assert await store.directory(Kind.SESSION) == {"a": b"three", "b": b"two"}
    assert await store.directory(Kind.PROVIDER) == {}


async def test_the_first_caller_sets_a_secret_and_all_get_it(open_store: Open) -> None:
    one, other = await open_store(), await open_store()
    assert await one.secret("signing", b"\x00first\xff") == b"\x00first\xff"
    assert await other.secret("signing", b"second") == b"\x00first\xff"
    assert await other.secret("another", b"second") == b"second"


async def test_the_chronicle_has_the_latest_rows_first_and_forgets_the_oldest(open_store: Open) -> None:
    one, other = await open_store(), await open_store()
    assert await one.chronicle(5) == []
    await one.add_to_chronicle([b"a", b"\x00b\r\n"], keep=3)
    await other.add_to_chronicle([], keep=3)
    await other.add_to_chronicle([b"c", b"", b"e"], keep=3)
    assert await one.chronicle(5) == [b"e", b"", b"c"]
    assert await one.chronicle(2) == [b"e", b""]
    assert await one.chronicle(0) == []


async def test_what_one_handle_writes_outlives_it(open_store: Open) -> None:
    one, other = await open_store(), await open_store()
    await write(one, (1, 0))
    await one.close()
    assert await other.last(TABLE) == Position(1, 0)


async def test_a_store_that_is_there_answers(store: Store) -> None:
    await store.ping()
