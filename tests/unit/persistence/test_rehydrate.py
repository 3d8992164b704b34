"""What an entity is rebuilt from: the best way that is complete, or none."""

from __future__ import annotations

import pytest

from persistence.checkpoint import Checkpoint, seal
from persistence.journal import claim_entry
from persistence.memory import MemoryDatabase, MemoryStore
from persistence.rehydrate import PAGE_ENTRIES, load
from persistence.store import Append, Damaged, Entry, SavedCheckpoint
from undying.protocol.position import NOWHERE, Position

TABLE = "session:table"


def events(epoch: int, first: int, last: int) -> Entry:
    return Entry(Position(epoch, last), first, True, b"events")


def checkpoint(epoch: int, seq: int) -> Checkpoint:
    return Checkpoint(TABLE, Position(epoch, seq), 1, 0, {"at": [epoch, seq]})


class Database:
    """A memory database with the journal 1-0, 1-1..3, 1-4..6, 2-0, 2-1 and hands to break it."""

    def __init__(self) -> None:
        self.memory = MemoryDatabase()
        self.store = MemoryStore(self.memory)
        self.journal = [
            claim_entry(NOWHERE, "", 0),
            events(1, 1, 3),
            events(1, 4, 6),
            claim_entry(Position(1, 6), "", 0),
            events(2, 1, 1),
        ]
        self.memory.journals[TABLE] = self.journal

    def lose(self, index: int) -> None:
        del self.journal[index]

    async def save(self, *saved: Checkpoint) -> None:
        for one in saved:
            await self.store.put_checkpoint(TABLE, seal(one), keep=3)

    async def save_damaged(self, epoch: int, seq: int) -> None:
        position = Position(epoch, seq)
        await self.store.put_checkpoint(TABLE, SavedCheckpoint(position, seal(checkpoint(epoch, seq)).blob[:-1]), keep=3)


@pytest.fixture
def database() -> Database:
    return Database()


END = Position(2, 1)


async def test_an_empty_stream_loads_as_nothing() -> None:
    loaded = await load(MemoryStore(), TABLE, NOWHERE)
    assert (loaded.checkpoint, loaded.tail, loaded.skipped) == (None, [], [])


async def test_without_checkpoints_the_whole_journal_is_replayed(database: Database) -> None:
    loaded = await load(database.store, TABLE, END)
    assert (loaded.checkpoint, loaded.tail, loaded.skipped) == (None, database.journal, [])


async def test_the_newest_checkpoint_comes_with_what_happened_after_it(database: Database) -> None:
    await database.save(checkpoint(1, 3), checkpoint(1, 6))
    loaded = await load(database.store, TABLE, END)
    assert loaded.checkpoint == checkpoint(1, 6)
    assert loaded.tail == database.journal[3:]
    assert loaded.skipped == []


async def test_a_checkpoint_at_the_end_needs_no_tail(database: Database) -> None:
    await database.save(checkpoint(2, 1))
    loaded = await load(database.store, TABLE, END)
    assert (loaded.checkpoint, loaded.tail) == (checkpoint(2, 1), [])


async def test_a_damaged_checkpoint_is_reported_and_the_next_older_one_used(database: Database) -> None:
    await database.save(checkpoint(1, 3))
    await database.save_damaged(1, 6)
    loaded = await load(database.store, TABLE, END)
    assert loaded.checkpoint == checkpoint(1, 3)
    assert loaded.tail == database.journal[2:]
    assert len(loaded.skipped) == 1
    assert "1-6" in loaded.skipped[0]


async def test_with_all_checkpoints_damaged_the_journal_is_replayed_from_its_beginning(database: Database) -> None:
    await database.save_damaged(1, 3)
    await database.save_damaged(1, 6)
    loaded = await load(database.store, TABLE, END)
    assert (loaded.checkpoint, loaded.tail) == (None, database.journal)
    assert len(loaded.skipped) == 2


async def test_with_all_checkpoints_damaged_and_the_beginning_trimmed_the_entity_is_damaged(database: Database) -> None:
    await database.save_damaged(1, 6)
    await database.store.trim(TABLE, Position(1, 3))
    with pytest.raises(Damaged, match="1-6"):
        await load(database.store, TABLE, END)


async def test_a_checkpoint_ahead_of_the_journal_is_reported_and_not_used(database: Database) -> None:
    await database.save(checkpoint(1, 3), checkpoint(2, 5))
    loaded = await load(database.store, TABLE, END)
    assert loaded.checkpoint == checkpoint(1, 3)
    assert loaded.skipped == ["checkpoint 2-5 is past 2-1"]


async def test_a_checkpoint_of_events_that_the_store_lost_is_not_used(database: Database) -> None:
    await database.save(checkpoint(1, 3), checkpoint(1, 8))
    loaded = await load(database.store, TABLE, END)
    assert loaded.checkpoint == checkpoint(1, 3)
    assert len(loaded.skipped) == 1


async def test_a_checkpoint_inside_of_an_entry_is_not_used(database: Database) -> None:
    await database.save(checkpoint(1, 5))
    loaded = await load(database.store, TABLE, END)
    assert (loaded.checkpoint, loaded.tail) == (None, database.journal)


@pytest.mark.parametrize("lost", range(5))
async def test_whichever_entry_is_lost_the_journal_alone_is_damaged(database: Database, lost: int) -> None:
    database.lose(lost)
    with pytest.raises(Damaged):
        await load(database.store, TABLE, END)


async def test_entries_above_the_position_asked_for_are_left_out(database: Database) -> None:
    loaded = await load(database.store, TABLE, Position(1, 6))
    assert loaded.tail == database.journal[:3]


async def test_a_position_inside_of_an_entry_is_damaged(database: Database) -> None:
    with pytest.raises(Damaged):
        await load(database.store, TABLE, Position(1, 5))


async def test_a_tail_longer_than_a_page_is_read_whole() -> None:
    store = MemoryStore()
    written = [claim_entry(NOWHERE, "", 0), *(events(1, seq, seq) for seq in range(1, 2 * PAGE_ENTRIES + 3))]
    for follows, entry in zip([NOWHERE, *(entry.position for entry in written)], written, strict=False):
        assert await store.append([Append(TABLE, entry, follows)]) == [None]
    assert (await load(store, TABLE, written[-1].position)).tail == written
