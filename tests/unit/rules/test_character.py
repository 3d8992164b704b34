"""What happens to a character, who may do it, and who sees it."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from actors.character import CharacterRules
from actors.rules import Accepted, Refused
from tests.unit.rules.playing import Play
from tests.unit.rules.tables import ROLES, character
from undying.protocol.errors import Code
from undying.protocol.ids import Kind
from undying.protocol.ops import OPS
from undying.protocol.sheet import CONDITIONS_MAX, ITEMS_MAX, NOTES_MAX, SHEET_BYTES_MAX


def hp(play: Any) -> tuple[int, int, int]:
    points = play.sees("gm")["sheet"]["hp"]
    return points["current"], points["max"], points["temp"]


def test_only_a_name_has_to_be_given() -> None:
    sheet = character().sees("ann")["sheet"]
    assert (sheet["name"], sheet["level"], sheet["hp"]) == ("Krusk", 1, {"current": 0, "max": 0, "temp": 0})


def test_a_character_that_has_a_maximum_only_begins_unhurt() -> None:
    assert hp(character(hp={"max": 12})) == (12, 12, 0)


@pytest.mark.parametrize(
    ("before", "delta", "after"),
    [
        ({"current": 10, "max": 12}, -4, (6, 12, 0)),
        ({"current": 10, "max": 12}, -40, (0, 12, 0)),
        ({"current": 10, "max": 12, "temp": 3}, -5, (8, 12, 0)),
        ({"current": 10, "max": 12, "temp": 3}, -2, (10, 12, 1)),
        ({"current": 10, "max": 12, "temp": 3}, 5, (12, 12, 3)),
        ({"current": 10, "max": 0}, 50, (60, 0, 0)),
    ],
)
def test_damage_takes_temporary_points_first_and_healing_ends_at_the_maximum(
    before: dict[str, int], delta: int, after: tuple[int, int, int]
) -> None:
    play = character(hp=before)
    play.ok("ann", "hp.change", {"delta": delta})
    assert hp(play) == after
    points, top, temp = after
    assert play.last_told("bob") == ("hp.changed", {"hp": points, "max": top, "temp": temp, "delta": delta})


def test_hit_points_are_set_within_the_maximum() -> None:
    play = character(hp={"max": 12})
    play.ok("gm", "hp.set", {"value": 20, "max": 24, "temp": 5})
    assert hp(play) == (20, 24, 5)
    assert play.code("gm", "hp.set", {"value": 25}) is Code.LIMIT_EXCEEDED


def test_items_are_counted_by_name() -> None:
    play = character()
    play.ok("ann", "item.add", {"name": "rope", "qty": 2})
    play.ok("ann", "item.add", {"name": "rope"})
    assert play.code("ann", "item.remove", {"name": "rope", "qty": 4}) is Code.WRONG_STATE
    play.ok("ann", "item.remove", {"name": "rope", "qty": 3})
    assert play.last_told("ann") == ("inventory.changed", {"name": "rope", "qty": 0, "delta": -3})


def test_an_item_keeps_whatever_a_client_said_of_it() -> None:
    play = character(inventory=[{"name": "rope", "feet": 50, "delta": "knotted"}])
    play.ok("ann", "item.add", {"name": "rope", "qty": 2, "made_of": {"silk": True}, "feet": 60, "delta": 9})
    said = {"name": "rope", "qty": 3, "feet": 60, "made_of": {"silk": True}}
    assert play.last_told("ann") == ("inventory.changed", {**said, "delta": 2})
    play.ok("ann", "item.add", {"name": "lamp", "lit": False})
    play.ok("ann", "sheet.set", {"path": "inventory.0.made_of.silk", "value": "almost"})
    play.ok("ann", "item.remove", {"name": "rope"})
    rope = {**said, "qty": 2, "made_of": {"silk": "almost"}, "delta": "knotted"}
    assert play.sees("ann")["sheet"]["inventory"] == [rope, {"name": "lamp", "qty": 1, "lit": False}]
    play.holds_its_laws()


def test_of_a_sheet_and_its_conditions_only_what_is_known_is_kept() -> None:
    play = character(god=True, hp={"max": 9, "god": True}, conditions=[{"name": "prone", "god": True}])
    play.ok("gm", "condition.add", {"name": "pale", "god": True})
    assert "god" not in str(play.sees("gm"))


@pytest.mark.parametrize(
    ("kind", "args", "path"),
    [
        ("item.remove", {"name": "rope"}, "name"),
        ("condition.remove", {"name": "prone"}, "name"),
        ("sheet.set", {"path": "inventory.5.qty", "value": 1}, "path"),
    ],
)
def test_what_is_not_on_the_sheet_is_named_by_its_argument(kind: str, args: Any, path: str) -> None:
    refused = character().refused("ann", kind, args)
    assert (refused.code, refused.context) == (Code.NOT_FOUND, {"path": path})


def test_a_condition_replaces_the_one_of_its_name() -> None:
    play = character()
    play.ok("gm", "condition.add", {"name": "prone", "rounds": 1})
    play.ok("gm", "condition.add", {"name": "prone", "source": "ogre"})
    assert play.sees("sue")["sheet"]["conditions"] == [{"name": "prone", "source": "ogre", "rounds": None}]
    play.ok("gm", "condition.remove", {"name": "prone"})
    assert play.code("gm", "condition.remove", {"name": "prone"}) is Code.NOT_FOUND


def test_experience_never_falls_below_nothing() -> None:
    play = character(xp=10)
    assert play.code("ann", "xp.award", {"amount": 5}) is Code.FORBIDDEN
    play.ok("gm", "xp.award", {"amount": -50})
    assert play.last_told("ann") == ("xp.changed", {"xp": 0, "delta": -10})


def test_experience_is_the_game_masters_to_set() -> None:
    play = character()
    refused = play.refused("ann", "sheet.set", {"path": "xp", "value": 1_000})
    assert (refused.code, refused.context) == (Code.FORBIDDEN, {"path": "path"})
    play.ok("gm", "sheet.set", {"path": "xp", "value": 1_000})
    assert play.sees("ann")["sheet"]["xp"] == 1_000


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("level", 5),
        ("abilities.str", 17),
        ("attributes.speed", {"walk": 30}),
        ("inventory.1.qty", 7),
        ("inventory.1.weight", {"lb": 1.5}),
        ("inventory.2", {"name": "lamp", "qty": 1, "lit": True}),
    ],
)
def test_any_part_of_a_sheet_is_set_by_its_path(path: str, value: Any) -> None:
    play = character(inventory=[{"name": "rope"}, {"name": "torch"}])
    play.ok("ann", "sheet.set", {"path": path, "value": value})
    found: Any = play.sees("ann")["sheet"]
    for step in path.split("."):
        found = found[int(step)] if isinstance(found, list) else found[step]
    assert found == value
    assert play.last_told("ann") == ("sheet.changed", {"path": path, "value": value})
    play.holds_its_laws()


def test_who_sets_a_part_is_told_no_more_than_that_it_was_done() -> None:
    assert character().ok("ann", "sheet.set", {"path": "attributes.story", "value": "x" * 10_000}) == {}


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        ("inventory.5.qty", 1, Code.NOT_FOUND),
        ("inventory.3", {"name": "too far"}, Code.NOT_FOUND),
        ("attributes.speed.walk", 30, Code.NOT_FOUND),
        ("attributes.size.deeper", 1, Code.NOT_FOUND),
        ("hp.max", 3, Code.LIMIT_EXCEEDED),
        ("hp.current", 30, Code.LIMIT_EXCEEDED),
    ],
)
def test_what_would_fit_another_sheet_is_no_bad_argument(path: str, value: Any, code: Code) -> None:
    play = character(hp={"max": 12}, inventory=[{"name": "rope"}, {"name": "torch"}], attributes={"size": "small"})
    before = play.rules.dump(play.state)
    assert play.code("ann", "sheet.set", {"path": path, "value": value}) is code
    assert play.rules.dump(play.state) == before


def test_a_value_that_is_no_sheet_changes_nothing() -> None:
    play = character()
    before = play.rules.dump(play.state)
    assert play.code("ann", "sheet.set", {"path": "hp", "value": {"current": -1}}) is Code.BAD_ARGS
    assert play.rules.dump(play.state) == before


# who may


@pytest.mark.parametrize(
    "spec", [spec for (kind, _), spec in OPS.items() if kind is Kind.CHARACTER], ids=lambda spec: spec.kind
)
def test_nobody_but_its_owner_and_the_game_master_changes_a_character(spec: Any) -> None:
    play = character()
    for user in ("bob", "sue", "bot"):
        decision = play.do(user, spec.kind, {"delta": 1, "amount": 1})
        assert isinstance(decision, Refused)
        assert decision.failure.code in (Code.FORBIDDEN, Code.BAD_ARGS, Code.BAD_OP)
    assert len(play.entries) == 1


def test_someone_elses_character_is_refused_as_such() -> None:
    assert character().code("bob", "hp.change", {"delta": -5}) is Code.FORBIDDEN


def test_a_session_may_do_all() -> None:
    play = character(hp={"max": 9})
    play.ok("@session:t1", "hp.change", {"delta": -4})
    assert hp(play) == (5, 9, 0)


# who sees


def test_the_table_sees_name_level_conditions_and_hit_points_of_a_players_character() -> None:
    play = character("ann", attributes={"secret": "vampire"})
    assert set(play.sees("bob")["sheet"]) == {"name", "level", "conditions", "hp"}
    assert play.sees("ann")["sheet"]["attributes"] == play.sees("gm")["sheet"]["attributes"] == {"secret": "vampire"}


def test_the_hit_points_of_an_npc_are_for_the_game_master() -> None:
    play = character(None, hp={"max": 40})
    play.ok("gm", "hp.change", {"delta": -5})
    assert play.last_told("bob") is None
    assert set(play.sees("bob")["sheet"]) == {"name", "level", "conditions"}


def test_the_reason_for_damage_is_for_those_who_see_the_sheet() -> None:
    play = character(hp={"max": 9})
    play.ok("gm", "hp.change", {"delta": -5, "reason": "the curse"})
    assert "the curse" in str(play.last_told("ann"))
    assert "the curse" not in str(play.last_told("bob"))


@pytest.mark.parametrize(
    ("kind", "args", "seen"),
    [
        ("sheet.set", {"path": "level", "value": 3}, True),
        ("sheet.set", {"path": "attributes.secret", "value": "vampire"}, False),
        ("note.append", {"text": "hates garlic"}, False),
        ("item.add", {"name": "coffin"}, False),
        ("condition.add", {"name": "pale"}, True),
    ],
)
def test_others_are_told_only_of_what_they_see(kind: str, args: Any, seen: bool) -> None:
    play = character()
    play.ok("ann", kind, args)
    assert (play.last_told("bob") is not None) is seen
    assert play.last_told("ann") is not None
    assert play.last_told("gm") is not None


# its life


def test_a_character_is_made_once() -> None:
    play = character()
    assert play.code("@session:t1", "character.store", {"sheet": {"name": "X"}, "session": "t1"}) is Code.ALREADY_EXISTS


def test_a_retired_character_takes_no_op_and_shows_nothing() -> None:
    play = character()
    play.ok("@session:t1", "character.retire", {"reason": "no seat"})
    assert play.code("ann", "hp.change", {"delta": 1}) is Code.NOT_FOUND
    assert play.sees("ann")["sheet"] == {}
    assert isinstance(play.do("@session:t1", "character.retire", {}), Accepted)
    play.holds_its_laws()


def test_before_it_was_made_there_is_no_character() -> None:
    play = Play(CharacterRules(), "c9", dict(ROLES))
    assert not play.rules.exists(play.state)
    assert play.code("gm", "hp.change", {"delta": 1}) is Code.NOT_FOUND


@pytest.mark.parametrize(
    ("sheet", "kind", "args"),
    [
        ({"inventory": [{"name": f"i{n}"} for n in range(ITEMS_MAX)]}, "item.add", {"name": "more"}),
        ({"inventory": [{"name": "gold", "qty": 1_000_000}]}, "item.add", {"name": "gold"}),
        ({"conditions": [{"name": f"c{n}"} for n in range(CONDITIONS_MAX)]}, "condition.add", {"name": "more"}),
        ({"notes": [{"text": "x"}] * NOTES_MAX}, "note.append", {"text": "more"}),
        ({"xp": 1_000_000_000}, "xp.award", {"amount": 1}),
    ],
)
def test_each_bound_of_a_sheet_is_refused(sheet: Any, kind: str, args: Any) -> None:
    assert character(**sheet).code("gm", kind, args) is Code.LIMIT_EXCEEDED


@pytest.mark.parametrize(
    ("part", "length", "member"),
    [
        ("inventory", ITEMS_MAX, {"name": "more"}),
        ("conditions", CONDITIONS_MAX, {"name": "more"}),
        ("notes", NOTES_MAX, {"text": "more"}),
    ],
)
def test_no_path_leads_past_the_end_of_a_full_list(part: str, length: int, member: Any) -> None:
    sheet: Any = {part: [{**member, next(iter(member)): f"m{n}"} for n in range(length)]}
    play = character(**sheet)
    assert play.code("ann", "sheet.set", {"path": f"{part}.{length}", "value": member}) is Code.LIMIT_EXCEEDED


def test_attributes_stay_within_their_bounds_however_they_come_together() -> None:
    play = character()
    for name in ("a", "b", "c"):
        play.ok("ann", "sheet.set", {"path": f"attributes.{name}", "value": "x" * 5_000})
    assert play.code("ann", "sheet.set", {"path": "attributes.d", "value": "x" * 5_000}) is Code.LIMIT_EXCEEDED


def test_the_keys_of_an_item_stay_within_their_bounds_however_they_come_together() -> None:
    play = character()
    for name in ("a", "b", "c"):
        play.ok("ann", "item.add", {"name": "tome", name: "x" * 5_000})
    assert play.code("ann", "item.add", {"name": "tome", "d": "x" * 5_000}) is Code.LIMIT_EXCEEDED
    assert play.code("ann", "sheet.set", {"path": "inventory.0.d", "value": "x" * 5_000}) is Code.LIMIT_EXCEEDED
    play.ok("ann", "item.add", {"name": "tome"})


@pytest.mark.parametrize(
    ("kind", "args"),
    [
        ("item.add", {"name": "x" * 200}),
        ("condition.add", {"name": "x" * 200}),
        ("note.append", {"text": "x" * 2_000}),
        ("sheet.set", {"path": "attributes.story", "value": "x" * 2_000}),
    ],
)
def test_a_sheet_has_room_for_so_many_bytes_whatever_they_are(kind: str, args: Any) -> None:
    play = character(notes=[{"text": "🐉" * 2_000}] * 16)
    while isinstance(play.do("ann", "note.append", {"text": "x" * 50}), Accepted):
        pass
    assert play.code("ann", kind, args) is Code.LIMIT_EXCEEDED
    assert len(msgpack.packb(play.sees("ann"))) <= SHEET_BYTES_MAX + 1_000


def test_a_sheet_holds_so_many_values_however_small() -> None:
    play = character()
    bag = {"name": "bag", "cards": [[1] * 100] * 10}
    for at in range(3):
        play.ok("ann", "sheet.set", {"path": f"inventory.{at}", "value": bag})
    assert play.code("ann", "sheet.set", {"path": "inventory.3", "value": bag}) is Code.LIMIT_EXCEEDED
    play.ok("ann", "item.add", {"name": "rope"})


def test_a_sheet_that_is_too_large_is_not_stored() -> None:
    play = Play(CharacterRules(), "c1", dict(ROLES))
    sheet = {"name": "K", "notes": [{"text": "x" * 2_000}] * 100}
    assert play.code("@session:t1", "character.store", {"sheet": sheet, "session": "t1"}) is Code.LIMIT_EXCEEDED
