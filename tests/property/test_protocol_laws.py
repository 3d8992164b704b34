"""Laws of events, errors, positions and what travels on the link."""

from __future__ import annotations

import itertools
from typing import Any

import msgpack
from hypothesis import given, settings
from hypothesis import strategies as st

from undying.protocol.effects import ChangeRole, CloseStream, Effect, OpenStream, Remove, pack_effects, unpack_effects
from undying.protocol.errors import TAXONOMY, Code, Failure, UndyingError
from undying.protocol.events import GMS, Event, View, Viewer, project, project_all, sees
from undying.protocol.ids import Role
from undying.protocol.position import Position, parse_position

USERS = st.sampled_from(["ann", "bob", "gm"])
VIEWERS = st.builds(Viewer, USERS, st.sampled_from(list(Role)))
AUDIENCES = st.one_of(st.none(), st.lists(st.sampled_from(["ann", "bob", GMS]), unique=True).map(tuple))
VIEWS = st.lists(st.builds(View, AUDIENCES, st.fixed_dictionaries({"x": st.integers(0, 9)})), min_size=1, max_size=3)
FACTS = st.dictionaries(st.text(max_size=5), st.one_of(st.integers(0, 9), st.text(max_size=5)), max_size=3)


@st.composite
def runs(draw: st.DrawFn) -> list[Any]:
    """Draw a run of events as a journal holds it."""
    first = draw(st.integers(1, 50))
    drawn = draw(st.lists(VIEWS, max_size=8))
    events = [Event(first + at, "k", "ann", 1, tuple(views)) for at, views in enumerate(drawn)]
    return [msgpack.unpackb(msgpack.packb(event.to_entry())) for event in events]


@settings(deadline=None)
@given(runs(), VIEWERS)
def test_a_projection_covers_every_position_of_a_run_once_and_neighbouring_skips_are_one(
    run: list[Any], viewer: Viewer
) -> None:
    wire: list[Any] = project_all(run, viewer)
    covered = [seq for item in wire for seq in range(item["n"], item["n"] + item.get("skip", 1))]
    assert covered == [entry["n"] for entry in run]
    assert not any("skip" in one and "skip" in other for one, other in itertools.pairwise(wire))


@settings(deadline=None)
@given(runs(), VIEWERS)
def test_a_viewer_gets_the_first_view_that_is_for_them_and_nothing_else(run: list[Any], viewer: Viewer) -> None:
    before = msgpack.packb(run)
    for entry in run:
        event = Event.from_entry(entry)
        theirs = [view.data for view in event.views if sees(view.audience, viewer)]
        wire: Any = project(entry, viewer)
        assert (wire is None) == (theirs == [])
        if wire is not None:
            assert wire["d"] == theirs[0]
            assert "v" not in wire
    project_all(run, viewer)
    assert msgpack.packb(run) == before


@settings(deadline=None)
@given(VIEWS)
def test_an_event_outlives_the_journal(views: list[View]) -> None:
    event = Event(3, "k", "ann", 7, tuple(views))
    assert Event.from_entry(msgpack.unpackb(msgpack.packb(event.to_entry()))) == event


@settings(deadline=None)
@given(st.sampled_from(list(Code)), st.text(), FACTS, st.one_of(st.none(), st.integers(0, 10**6)))
def test_every_failure_of_the_taxonomy_outlives_the_wire(code: Code, message: str, facts: Any, after_ms: int | None) -> None:
    failure = Failure(code, message, facts, after_ms)
    wire: Any = msgpack.unpackb(
        msgpack.packb(failure.to_wire(), unicode_errors="surrogatepass"), unicode_errors="surrogatepass"
    )
    assert Failure.from_wire(wire) == failure
    assert {"code", "severity", "category", "message", "recoverable", "retry"} <= set(wire)
    assert wire["retry"]["strategy"] in ("immediate", "backoff", "none")


@settings(deadline=None)
@given(st.recursive(st.one_of(st.none(), st.text(), st.integers()), lambda inner: st.dictionaries(st.text(), inner)))
def test_whatever_comes_as_an_error_is_read_as_one(wire: Any) -> None:
    assert isinstance(Failure.from_wire(wire), Failure)


def test_every_code_has_a_row_and_only_what_may_be_tried_again_has_a_strategy() -> None:
    assert set(TAXONOMY) == set(Code)
    for row in TAXONOMY.values():
        assert row.recoverable == (row.retry != "none")
        assert 400 <= row.http_status < 600
        assert row.meaning


@settings(deadline=None)
@given(st.sampled_from(list(Code)), st.text(max_size=9), FACTS)
def test_an_error_survives_a_trip_between_processes(code: Code, message: str, facts: Any) -> None:
    raised = UndyingError(Failure(code, message, facts))
    kind, args = raised.__reduce__()
    assert kind(*args).failure == raised.failure


EFFECTS: st.SearchStrategy[Effect] = st.one_of(
    st.builds(OpenStream, st.just("open"), st.just("character:c"), AUDIENCES),
    st.builds(CloseStream, st.just("close"), st.just("character:c"), st.text(max_size=5)),
    st.builds(ChangeRole, st.just("role"), USERS, st.sampled_from(["gm", "player"])),
    st.builds(Remove, st.just("remove"), USERS),
)


@settings(deadline=None)
@given(st.lists(EFFECTS, max_size=5))
def test_effects_outlive_the_journal_and_none_are_no_bytes(effects: list[Effect]) -> None:
    packed = pack_effects(effects)
    assert unpack_effects(packed) == effects
    assert (packed == b"") == (effects == [])


@settings(deadline=None)
@given(st.integers(0, 2**48 - 1), st.integers(0, 2**48 - 1))
def test_a_position_is_read_back_as_it_was_sent(epoch: int, seq: int) -> None:
    assert parse_position([epoch, seq]) == Position(epoch, seq)


@settings(deadline=None)
@given(st.one_of(st.none(), st.text(), st.integers(), st.lists(st.one_of(st.floats(), st.booleans(), st.text()), max_size=3)))
def test_what_is_not_two_whole_numbers_is_no_position(value: object) -> None:
    assert parse_position(value) is None
    assert parse_position([1, -1]) is None
    assert parse_position([2**48, 1]) is None
