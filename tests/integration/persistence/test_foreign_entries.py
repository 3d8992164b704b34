"""Entries in a real store that this version can't read: no end of the table, when it is rolled back to before them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from actors.activation import activate, roll_back
from persistence.checkpoint import Checkpoint, seal
from persistence.journal import claim_entry
from persistence.migrations import Upcasters
from persistence.redis_store import RedisStore
from persistence.store import Append, unreadable
from persistence.survey import Choice, survey
from tests.unit.actors.hosting import code_of
from tests.unit.actors.toy import ToyRules
from undying.protocol.errors import Code
from undying.protocol.ids import Kind
from undying.protocol.position import NOWHERE, Position

pytestmark = pytest.mark.store

TABLE = "session:t"
RULES = {Kind.SESSION: ToyRules()}
END = Position(2, 0)
"""1-0 and, unreadable, 1-4 and the claim 2-0; at 1-2, of which the entry is trimmed away, there is a checkpoint."""


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[RedisStore]:
    opened = await RedisStore.open(store_url)
    state = {**RULES[Kind.SESSION].initial("t"), "created": True, "lines": ["kept"]}
    assert await opened.append([Append(TABLE, claim_entry(NOWHERE, "", 0), NOWHERE)]) == [None]
    await opened.put_checkpoint(TABLE, seal(Checkpoint(TABLE, Position(1, 2), 1, 77, state)), keep=3)
    async with Redis.from_url(store_url) as raw:
        for position in ("1-4", "2-0"):
            await raw.xadd("undying:{session:t}:log", {"written": "by another version"}, id=position)
    yield opened
    await opened.close()


async def test_their_positions_are_known_and_nothing_more(store: RedisStore) -> None:
    assert await store.last(TABLE) == END
    assert (await store.read(TABLE, Position(1, 0), 10)) == [unreadable(Position(1, 4)), unreadable(END)]


async def test_a_table_that_ends_with_them_can_not_be_rebuilt_and_can_be_rolled_back(store: RedisStore) -> None:
    assert await code_of(activate(TABLE, store, RULES, Upcasters(), 0, create=False)) is Code.DATA_DAMAGED
    seen = await survey(store, TABLE)
    assert seen is not None
    assert (seen.end, seen.choices) == (END, [Choice(Position(1, 2), 77, on_line=True, dropped=2)])
    life, dropped = await roll_back(TABLE, store, RULES, Upcasters(), 0, Position(1, 2))
    assert (life.position, life.state["lines"], dropped) == (Position(3, 0), ["kept"], 2)
    again = await activate(TABLE, store, RULES, Upcasters(), 0, create=False)
    assert (again.position, again.state["lines"]) == (Position(4, 0), ["kept"])
