"""Fights: whose turn it is, in which order, and who may change that."""

from __future__ import annotations

from typing import Any

import pytest

from actors.session import SessionState
from tests.unit.rules.playing import Play
from tests.unit.rules.tables import seat, table
from undying.protocol.errors import Code


def fight(*names: str) -> Play[SessionState]:
    play = table()
    entries = [{"id": name, "name": name, "value": 10 - at} for at, name in enumerate(names)]
    play.ok("gm", "initiative.set", {"entries": entries})
    play.ok("gm", "combat.start")
    return play


def turn(play: Play[SessionState]) -> tuple[int, str | None]:
    combat = play.sees("sue")["combat"]
    return combat["round"], combat["entry"] and combat["entry"]["id"]


def test_turns_go_round_and_back() -> None:
    play = fight("a", "b")
    assert turn(play) == (1, "a")
    assert play.code("gm", "initiative.prev") is Code.WRONG_STATE
    play.ok("gm", "initiative.next")
    play.ok("gm", "initiative.next")
    assert turn(play) == (2, "a")
    play.ok("gm", "initiative.prev")
    assert turn(play) == (1, "b")


def test_the_order_is_by_value_and_equal_ones_stay_as_given() -> None:
    play = table()
    for name, value in (("a", 1), ("b", 5), ("c", 5), ("d", 7.5)):
        play.ok("gm", "initiative.add", {"entry": {"id": name, "name": name, "value": value}})
    assert [entry["id"] for entry in play.sees("sue")["combat"]["entries"]] == ["d", "b", "c", "a"]


def test_when_the_one_whose_turn_it_is_goes_the_next_has_it() -> None:
    play = fight("a", "b", "c")
    play.ok("gm", "initiative.next")
    play.ok("gm", "initiative.remove", {"id": "b"})
    assert turn(play) == (1, "c")
    play.ok("gm", "initiative.remove", {"id": "c"})
    assert turn(play) == (2, "a")
    play.ok("gm", "initiative.set", {"entries": []})
    assert turn(play) == (2, None)
    assert play.code("gm", "initiative.next") is Code.WRONG_STATE
    play.ok("gm", "initiative.add", {"entry": {"id": "z", "name": "z", "value": 1}})
    assert turn(play) == (2, "z")


def revalue(play: Play[SessionState], name: str, value: float) -> None:
    play.ok("gm", "initiative.add", {"entry": {"id": name, "name": name, "value": value}})


def test_who_waits_on_their_turn_lets_the_next_go_first() -> None:
    play = fight("a", "b", "c", "d")
    play.ok("gm", "initiative.next")
    revalue(play, "b", 7.5)
    assert turn(play) == (1, "c")
    play.ok("gm", "initiative.next")
    assert turn(play) == (1, "b")
    revalue(play, "b", 7.2)
    assert turn(play) == (1, "b")
    revalue(play, "b", 0)
    play.ok("gm", "initiative.next")
    assert turn(play) == (1, "b")
    play.ok("gm", "initiative.next")
    assert turn(play) == (2, "a")


def test_the_turn_stays_with_who_has_it_when_somebody_else_is_put_above_them() -> None:
    play = fight("a", "b", "c")
    play.ok("gm", "initiative.next")
    revalue(play, "c", 9.5)
    assert turn(play) == (1, "b")


def test_who_comes_above_the_turn_waits_for_the_next_round() -> None:
    play = fight("a", "b")
    play.ok("gm", "initiative.next")
    revalue(play, "late", 50)
    assert turn(play) == (1, "b")
    play.ok("gm", "initiative.next")
    assert turn(play) == (2, "late")


def test_a_new_name_leaves_an_entry_where_it_stood_among_equals() -> None:
    play = table()
    entries = [{"id": name, "name": name, "value": 10} for name in "abc"]
    play.ok("gm", "initiative.set", {"entries": entries})
    play.ok("gm", "combat.start")
    play.ok("gm", "initiative.add", {"entry": {"id": "a", "name": "A the Bold", "value": 10}})
    assert turn(play) == (1, "a")
    assert [(entry["id"], entry["name"][0]) for entry in play.sees("sue")["combat"]["entries"]] == [
        ("a", "A"),
        ("b", "b"),
        ("c", "c"),
    ]


def test_an_id_that_a_hidden_entry_has_is_taken_and_no_more_is_said() -> None:
    play = fight("a")
    play.ok("gm", "initiative.add", {"entry": {"id": "lurker", "name": "x", "value": 3, "hidden": True}})
    assert play.code("ann", "initiative.add", {"entry": {"id": "lurker", "name": "y", "value": 3}}) is Code.ALREADY_EXISTS


def test_a_player_ends_their_own_turn_only() -> None:
    play = table()
    krusk = seat(play, "ann", "Krusk")
    play.ok("gm", "initiative.add", {"entry": {"id": "k", "name": "Krusk", "value": 9, "character": krusk}})
    play.ok("bob", "initiative.add", {"entry": {"id": "b", "name": "Bob", "value": 5}})
    assert play.code("ann", "initiative.next") is Code.WRONG_STATE
    play.ok("gm", "combat.start")
    assert play.code("bob", "initiative.next") is Code.FORBIDDEN
    play.ok("ann", "initiative.next")
    play.ok("bob", "initiative.next")
    assert turn(play) == (2, "k")


@pytest.mark.parametrize(
    "entry",
    [
        {"id": "g", "name": "stolen", "value": 1},
        {"id": "new", "name": "hidden", "value": 1, "hidden": True},
        {"id": "new", "name": "other's", "value": 1, "character": "somebody"},
    ],
)
def test_a_player_puts_only_open_entries_of_their_own_into_the_order(entry: Any) -> None:
    play = fight("g")
    assert play.code("ann", "initiative.add", {"entry": entry}) is Code.FORBIDDEN
    assert play.code("ann", "initiative.remove", {"id": "g"}) is Code.FORBIDDEN


def test_a_fight_is_on_or_off() -> None:
    play = fight("a")
    assert play.code("gm", "combat.start") is Code.WRONG_STATE
    play.ok("gm", "combat.end")
    assert play.code("gm", "combat.end") is Code.WRONG_STATE
    assert play.code("gm", "initiative.next") is Code.WRONG_STATE
    assert [entry["id"] for entry in play.sees("ann")["combat"]["entries"]] == ["a"]
