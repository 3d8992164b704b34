"""The tracker and those who report to it: nobody waits, nothing counts twice, and what is stored outlives them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

from actors.runtime import Exit, Inside, Program, Ref
from actors.runtime_local import LocalRuntime
from persistence.memory import MemoryDatabase, MemoryStore
from persistence.store import StoreUnavailable
from supervision.chronicle import KEPT_MAX, Ending, read_note
from supervision.reporting import GATHER_S, QUEUE_MAX, TRACKER, Reporter
from supervision.tracker import LOOK_S, Log, Tracker
from tests.in_virtual_time import virtual


class Stored:
    """A store that may be away: refuse, or carry out and lose the answer."""

    def __init__(self) -> None:
        self.database = MemoryDatabase()
        self.away = False
        self.answers_lost = 0
        self.hangs_s = 0.0

    async def open(self) -> Log:
        """Connect."""
        await self.turn()
        return FlakyLog(self)

    async def turn(self) -> None:
        """Let a question to it take its time, or fail."""
        await asyncio.sleep(self.hangs_s)
        if self.away:
            raise StoreUnavailable("away", unknown=False)


class FlakyLog(MemoryStore):
    """A handle on it."""

    def __init__(self, stored: Stored) -> None:
        super().__init__(stored.database)
        self._stored = stored

    async def add_to_chronicle(self, rows: Sequence[bytes], keep: int) -> None:
        await self._stored.turn()
        await super().add_to_chronicle(rows, keep)
        if self._stored.answers_lost:
            self._stored.answers_lost -= 1
            raise StoreUnavailable("no answer", unknown=True)

    async def chronicle(self, limit: int) -> list[bytes]:
        await self._stored.turn()
        return await super().chronicle(limit)


class Counted:
    """Counts calls by method."""

    def __init__(self) -> None:
        self.calls: dict[str, int] = {}

    async def before_call(self, src: str, dst: str, method: str) -> None:
        self.calls[method] = self.calls.get(method, 0) + 1

    async def after_call(self, src: str, dst: str, method: str) -> None:
        return None


class Desk:
    """A tracker, or none yet, and a supervisor that reports to it."""

    def __init__(self) -> None:
        self.stored = Stored()
        self.counted = Counted()
        wiring = {TRACKER: lambda settings, inside: Tracker(self.stored.open, random.Random(1))}
        self.runtime = LocalRuntime(wiring, faults=self.counted)
        self.reporter = self.new_reporter(1)

    def new_reporter(self, seed: int) -> Reporter:
        inside = Inside("supervisor:sessions", "n1", self.runtime)
        return Reporter(inside, random.Random(seed), lambda: int(asyncio.get_running_loop().time() * 1000))

    async def track(self) -> Ref:
        return await self.runtime.spawn(TRACKER, Program(TRACKER))

    async def endings(self, limit: int = 1000) -> dict[str, Any]:
        ref = await self.runtime.find(TRACKER)
        assert ref is not None
        told: dict[str, Any] = await ref.call("endings", limit)
        return told

    async def told(self) -> list[object]:
        """Return the details of what the tracker knows, the oldest first: each ending has one of its own."""
        return [row["detail"] for row in reversed((await self.endings())["history"])]

    async def until_told(self, *details: str) -> None:
        while await self.told() != list(details):  # noqa: ASYNC110 - virtual time
            await asyncio.sleep(0.05)

    def tell(self, detail: str, child: str = "session:a") -> None:
        self.reporter.tell(Ending(child, "session", "process:1", "n1", Exit("killed", detail), "restart", 0.5))

    def written(self) -> list[str]:
        notes = [read_note(row) for row in self.stored.database.chronicle]
        return [note.ending.exit.detail for note in notes if note is not None]


@virtual
async def test_what_a_supervisor_tells_is_kept_with_all_that_a_person_wants_to_know() -> None:
    desk = Desk()
    await desk.track()
    await asyncio.sleep(5)
    desk.tell("signal 9")
    desk.tell("signal 9 again")
    await desk.until_told("signal 9", "signal 9 again")
    assert (await desk.endings(1)) == {
        "history": [
            {
                "at_ms": 5000,
                "id": "session:a",
                "kind": "session",
                "where": "process:1",
                "node": "n1",
                "reason": "killed",
                "detail": "signal 9 again",
                "decided": "restart",
                "after_s": 0.5,
                "nth": 2,
                "by": "supervisor:sessions",
            }
        ],
        "lost": 0,
    }


@virtual
async def test_many_endings_at_once_are_one_call_and_telling_takes_no_time() -> None:
    desk = Desk()
    await desk.track()
    before = asyncio.get_running_loop().time()
    details = [str(number) for number in range(90)]
    for detail in details:
        desk.tell(detail)
    assert asyncio.get_running_loop().time() == before
    await desk.until_told(*details)
    assert desk.counted.calls["note"] == 1


@virtual
async def test_what_is_told_while_the_tracker_is_away_arrives_when_it_is_there() -> None:
    desk = Desk()
    desk.tell("early")
    await asyncio.sleep(60)
    desk.tell("late")
    await desk.track()
    await desk.until_told("early", "late")


@virtual
async def test_a_long_text_is_cut_and_the_oldest_endings_are_dropped_with_a_count() -> None:
    desk = Desk()
    await desk.track()
    desk.tell("first" + "x" * 10_000)
    await asyncio.sleep(1)
    (cut,) = await desk.told()
    assert isinstance(cut, str)
    assert len(cut) == 300
    await desk.runtime.kill(TRACKER)
    for number in range(QUEUE_MAX + 7):
        desk.tell(str(number))
    await asyncio.sleep(30)
    await desk.track()
    await asyncio.sleep(10)
    told = await desk.endings()
    assert len(await desk.told()) == 1 + QUEUE_MAX
    assert told["lost"] == 7


@virtual
async def test_the_chronicle_outlives_the_tracker_and_a_killed_one_forgets_nothing_it_was_told() -> None:
    desk = Desk()
    await desk.track()
    desk.tell("one")
    await desk.until_told("one")
    await desk.runtime.kill(TRACKER)
    desk.tell("two")
    await desk.track()
    await desk.until_told("one", "two")
    assert [row["nth"] for row in (await desk.endings())["history"]] == [2, 1]


@virtual
async def test_a_report_whose_answer_was_lost_with_the_tracker_counts_once() -> None:
    desk = Desk()
    await desk.track()
    await asyncio.sleep(1)
    desk.stored.hangs_s = 0.5  # between what the store does and the tracker's answer
    desk.tell("once")
    await asyncio.sleep(GATHER_S + 0.4)
    await desk.runtime.kill(TRACKER)
    desk.stored.hangs_s = 0.0
    await desk.track()
    await desk.until_told("once")
    await asyncio.sleep(30)
    assert await desk.told() == ["once"]


@virtual
async def test_rows_that_the_store_took_without_an_answer_count_once() -> None:
    desk = Desk()
    await desk.track()
    await asyncio.sleep(1)
    desk.stored.answers_lost = 2
    desk.tell("once")
    await asyncio.sleep(30)
    assert desk.written() == ["once"] * 3
    assert await desk.told() == ["once"]
    await desk.runtime.kill(TRACKER)
    await desk.track()
    desk.tell("more")
    await desk.until_told("once", "more")


@virtual
async def test_without_a_store_it_answers_from_memory_and_writes_when_the_store_is_back_behind_what_was_there() -> None:
    desk = Desk()
    await desk.track()
    desk.tell("old")
    await desk.until_told("old")
    await desk.runtime.kill(TRACKER)
    desk.stored.away = True
    desk.reporter = desk.new_reporter(2)
    await desk.track()
    desk.tell("new")
    await desk.until_told("new")
    desk.stored.away = False
    await desk.until_told("old", "new")
    assert desk.written() == ["old", "new"]
    assert [row["nth"] for row in (await desk.endings())["history"]] == [2, 1]


@virtual
async def test_who_reads_waits_a_moment_for_what_is_stored_and_no_longer() -> None:
    desk = Desk()
    desk.stored.hangs_s = 60.0
    await desk.track()
    before = asyncio.get_running_loop().time()
    assert await desk.told() == []
    assert asyncio.get_running_loop().time() - before == LOOK_S


@virtual
async def test_a_storm_of_endings_stays_bounded_in_memory_and_in_the_store() -> None:
    desk = Desk()
    await desk.track()
    for _ in range(5):
        for number in range(QUEUE_MAX):
            desk.tell(str(number))
        await asyncio.sleep(2)
    assert len(await desk.told()) == KEPT_MAX
    assert len(desk.stored.database.chronicle) == KEPT_MAX
    assert (await desk.endings(1))["history"][0]["nth"] == 5 * QUEUE_MAX


@virtual
async def test_a_stop_writes_what_is_not_written() -> None:
    desk = Desk()
    desk.stored.away = True
    tracker = await desk.track()
    desk.tell("kept")
    await desk.until_told("kept")
    desk.stored.away = False
    await tracker.call("stop")
    assert desk.written() == ["kept"]


@virtual
async def test_what_is_no_note_is_passed_over() -> None:
    desk = Desk()
    desk.stored.database.chronicle.append(b"\xc1 from another version")
    tracker = await desk.track()
    await tracker.call("note", [b"nonsense"])
    desk.tell("well")
    await desk.until_told("well")
