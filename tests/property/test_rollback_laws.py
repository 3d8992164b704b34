"""Laws of rollbacks, over tables that are played, killed, saved and set back at random.

1. What a table is rebuilt from is its line: the lines said up to where each rollback led, and nothing else.
2. Whoever has a position, on the line or off it, catches up to exactly that, by replay or by a snapshot.
3. One damaged checkpoint costs nothing.
4. What a rollback says it dropped is what is not on the line any more.
"""

from __future__ import annotations

import asyncio
import copy
from dataclasses import dataclass, field
from typing import Any

import msgpack
from hypothesis import given, settings
from hypothesis import strategies as st

from persistence.lineage import trace
from persistence.memory import MemoryDatabase
from persistence.survey import survey
from tests.in_virtual_time import quiet
from tests.unit.actors.hosting import STREAM, Stage, texts
from tests.virtual_time import run_virtual
from undying.protocol.errors import Code, UndyingError
from undying.protocol.link import NO_POSITION, Opened
from undying.protocol.position import Position

SAVED_S = 1.0
"""Seconds after which what is due is saved: more than the spacing."""

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("say"), st.integers(1, 3)),
        st.tuples(st.just("say"), st.integers(1, 3)),
        st.tuples(st.just("save"), st.just(0)),
        st.tuples(st.sampled_from(["kill", "stop"]), st.just(0)),
        st.tuples(st.sampled_from(["to checkpoint", "to entry"]), st.integers(0, 20)),
    ),
    min_size=4,
    max_size=14,
)


@dataclass
class Story:
    """The table, what its line is to be, and what clients had that left it: position and lines."""

    stage: Stage
    said: int = 0
    lines: list[str] = field(default_factory=list)
    at: dict[Position, list[str]] = field(default_factory=dict)
    """What was said on the line of each position at which an entry ends."""

    async def begin(self) -> None:
        await self.stage.up()
        self.note()

    def note(self) -> None:
        self.at[self.stage.host._live[STREAM].position] = list(self.lines)

    async def say(self, count: int) -> None:
        """Say so many lines in one commit."""
        gateway, new = self.stage.gateway, [f"line {self.said + each}" for each in range(count)]
        self.said += count
        await gateway.submit(*(gateway.op("say", text=text) for text in new))
        self.lines += new
        self.note()

    async def come_back(self, to: Position | None = None) -> None:
        """Come to life in another host, rolled back or not; the one before is not told, and may still be writing."""
        self.stage = Stage(self.stage.database, checkpoint_events=2)
        await self.stage.host.start()
        if to is None:
            await self.stage.host.activate(STREAM, create=False)
        else:
            before = set(self.lines)
            _, _, dropped = await self.stage.host.roll_back(STREAM, list(to))
            self.lines = list(self.at[to])
            assert dropped == len(before - set(self.lines)), "it said another number"
        await self.stage.gateway.subscribe()
        self.note()

    async def roll_back(self, where: str, pick: int) -> None:
        """Roll back to something before the end at which the table existed, if there is such a thing."""
        database, journal = self.stage.database, self.stage.journal()
        kept = list(database.checkpoints.get(STREAM, {}))
        ends = [entry.position for entry in journal]
        places = sorted(place for place in (kept if where == "to checkpoint" else ends) if (1, 1) <= place < ends[-1])
        if not places:
            return
        try:
            await self.come_back(places[pick % len(places)])
        except UndyingError as refused:
            if where != "to entry" or refused.failure.code is not Code.DATA_DAMAGED or ends[0] == (1, 0):
                raise
            # The line of that entry begins before what the journal is trimmed to, and on no checkpoint.
            assert self.stage.journal() == journal
            await self.come_back()


async def lines_from(stage: Stage, position: tuple[int, int], had: list[str]) -> list[str]:
    """Return the lines that a client has who had some at a position and caught up."""
    gateway = stage.gateway
    messages = await gateway.submit(gateway.open(position))
    while not messages or not isinstance(messages[-1], Opened):
        messages = await gateway.poll()
    opened = messages[-1]
    assert isinstance(opened, Opened)
    if opened.mode == "snapshot":
        return list(msgpack.unpackb(opened.state)["lines"])
    here: Any = position
    for batch in opened.batches:
        if batch.first == 0:
            assert tuple(msgpack.unpackb(batch.body)[0]["d"]["prev"]) == here, "a claim that does not follow"
        else:
            assert (batch.epoch, batch.first - 1) == here, "a hole, or twice the same"
        here = (batch.epoch, batch.last)
    assert here == opened.pos
    return [*had, *texts(list(opened.batches))]


async def rebuilt(database: MemoryDatabase) -> list[str]:
    """Return what a new life has, on a copy of what is stored."""
    other = Stage(copy.deepcopy(database))
    await other.host.start()
    await other.host.activate(STREAM, create=False)
    return await lines_from(other, NO_POSITION, [])


async def check(story: Story) -> None:
    database = story.stage.database
    assert await rebuilt(database) == story.lines
    newest = max(database.checkpoints.get(STREAM, {}), default=None)
    if newest is not None:
        damaged = copy.deepcopy(database)
        damaged.checkpoints[STREAM][newest] = b"?"
        assert await rebuilt(damaged) == story.lines
    for position, had in story.at.items():
        assert await lines_from(story.stage, position, had) == story.lines, f"who was at {position}"
    seen = await survey(story.stage.store, STREAM)
    assert seen is not None
    for choice in seen.choices:
        on_line = story.at.get(choice.position)
        if on_line is not None:
            assert choice.on_line == (on_line == story.lines[: len(on_line)])
            assert choice.dropped == len(set(story.lines) - set(on_line))


async def tell(steps: list[tuple[str, int]]) -> None:
    story = Story(Stage(checkpoint_events=2))
    await story.begin()
    for step, number in steps:
        match step:
            case "say":
                await story.say(number)
            case "save":
                await asyncio.sleep(SAVED_S)
                await story.say(1)
                await quiet()
            case "kill":
                await story.come_back()
            case "stop":
                await story.stage.host.stop()
                await story.come_back()
            case where:
                await story.roll_back(where, number)
        await check(story)


@settings(deadline=None, max_examples=60)
@given(STEPS)
def test_a_table_is_what_its_line_says_for_everybody_however_often_it_is_rolled_back(steps: list[tuple[str, int]]) -> None:
    run_virtual(tell(steps), limit_s=3_600.0)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 20)), min_size=1, max_size=12),
    st.integers(0, 400),
    st.integers(0, 400),
)
def test_a_line_holds_what_leads_to_it_and_loses_what_is_not_on_the_other(
    epochs: list[tuple[int, int]], one: int, other: int
) -> None:
    places, named, parents = [Position(0, 0)], dict[int, Position](), dict[Position, Position]()
    for epoch, (events, back) in enumerate(epochs, 1):
        named[epoch] = places[-1 - back % len(places)]
        for seq in range(events + 1):
            place = Position(epoch, seq)
            parents[place] = named[epoch] if seq == 0 else Position(epoch, seq - 1)
            places.append(place)

    def way(place: Position) -> set[Position]:
        return {place} if place not in parents else {place} | way(parents[place])

    first, second = places[one % len(places)], places[other % len(places)]
    line = trace(first, named.get)
    assert {place for place in places if line.holds(place)} == way(first)
    assert line.events_off(trace(second, named.get)) == sum(place.seq > 0 for place in way(first) - way(second))
