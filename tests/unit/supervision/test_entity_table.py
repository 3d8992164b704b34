"""Stories of one entity that the table once told wrong; `tests/property/test_entity_table_laws.py` found them."""

from __future__ import annotations

import random

from actors.runtime import Exit, Program
from supervision.entity_events import (
    Activate,
    Activated,
    Answer,
    Asked,
    Due,
    Event,
    Expired,
    Home,
    HostGone,
    Instruction,
    Leaving,
    Left,
    NotActivated,
    Pause,
    Refuse,
    Release,
    Released,
    Rested,
)
from supervision.entity_table import EntityTable
from supervision.spec import ChildSpec
from undying.protocol.errors import Code, Failure

STREAM = "session:t"


class Told:
    """A table with one entity, asked for by ticket 1 and live on `h1`; what is told next is told at second 0."""

    def __init__(self) -> None:
        self.table = EntityTable(ChildSpec("entity", Program("host")), random.Random(1))
        self.tell(Asked(1, STREAM, create=True))
        self.live_on("h1", epoch=1)

    def tell(self, event: Event) -> list[Instruction]:
        return self.table.handle(event, 0.0)

    @property
    def attempt(self) -> int:
        return self.table.entities[STREAM].attempt

    def live_on(self, host: str, epoch: int) -> list[Instruction]:
        return self.tell(Activated(STREAM, self.attempt, Home(host, 1, "n", epoch)))

    def refused(self, code: Code) -> list[Instruction]:
        return self.tell(NotActivated(STREAM, self.attempt, Failure(code, "no")))


def test_the_end_of_an_old_pause_means_nothing_to_an_entity_that_was_forgotten_and_asked_for_again() -> None:
    told = Told()
    [pause] = told.tell(Leaving("h1"))
    assert isinstance(pause, Pause)
    told.tell(Left("h1"))
    told.live_on("h2", epoch=2)
    told.tell(Rested(STREAM, "h2", 2))
    told.tell(Released(STREAM, told.attempt))
    told.tell(Asked(2, STREAM))
    told.live_on("h2", epoch=3)
    told.tell(Rested(STREAM, "h2", 3))
    for attempt in range(pause.attempt + 1):
        assert told.tell(Due(STREAM, attempt)) == [], "a place is asked for that is just given back"


def test_an_entity_that_can_not_be_checked_where_it_lived_lives_nowhere_and_does_not_have_to_leave() -> None:
    told = Told()
    told.tell(Asked(2, STREAM, avoid="h1"))
    told.refused(Code.DATABASE_UNAVAILABLE)
    told.tell(Due(STREAM, told.attempt))
    assert told.tell(Leaving("h1")) == []
    assert told.tell(Left("h1")) == [], "a second activation at the same time"


def test_an_entity_that_is_created_anew_is_not_where_it_was_any_more() -> None:
    told = Told()
    told.tell(Asked(2, STREAM, avoid="h1"))
    told.tell(Asked(3, STREAM, create=True))
    refusal, again = told.refused(Code.NOT_FOUND)
    assert isinstance(refusal, Refuse)
    assert isinstance(again, Activate)
    assert told.tell(HostGone("h1", Exit("killed"))) == [], "a second activation at the same time"


def test_who_asks_while_a_check_goes_on_waits_for_it_though_who_wanted_it_went_away() -> None:
    told = Told()
    told.tell(Asked(2, STREAM, avoid="h1"))
    told.tell(Expired(STREAM, 2))
    assert told.tell(Asked(3, STREAM, avoid="h1")) == []
    assert told.tell(Asked(4, STREAM)) == [], "answered with a host that is being checked"
    assert told.live_on("h1", epoch=1)[:2] == [Answer(3, "h1"), Answer(4, "h1")]


def test_what_never_came_to_life_gives_its_place_back() -> None:
    told = Told()
    other = "session:other"
    [begun] = told.tell(Asked(2, other))
    assert isinstance(begun, Activate)
    refusal, release = told.tell(NotActivated(other, begun.attempt, Failure(Code.DATABASE_UNAVAILABLE, "away")))
    assert isinstance(refusal, Refuse)
    assert release == Release(other, told.table.entities[other].attempt)
    assert told.tell(Released(other, release.attempt)) == []
    assert other not in told.table.entities


def test_of_two_lives_that_are_found_the_one_that_may_write_is_adopted() -> None:
    for lives in ([("h1", 3), ("h2", 4)], [("h2", 4), ("h1", 3)]):
        table = EntityTable(ChildSpec("entity", Program("host")), random.Random(1))
        for host, epoch in lives:
            table.handle(Activated(STREAM, 0, Home(host, 1, "n", epoch)), 0.0)
        assert table.handle(Asked(1, STREAM), 1.0) == [Answer(1, "h2")]
