"""Who sees what at a table, in events and snapshots alike."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.rules.tables import ROLES, seat, table
from undying.protocol.errors import Code
from undying.protocol.events import Viewer

SECRET = "the-butler-did-it"


def knowing(play: Any) -> set[str]:
    """Return the users who find the secret in an event; the snapshot has to agree."""
    told = {user for user in ROLES if SECRET in str(play.told(user))}
    assert told == {user for user in ROLES if SECRET in str(play.sees(user))}
    return told


EVERYBODY = set(ROLES)


@pytest.mark.parametrize(("to", "hear"), [(None, EVERYBODY), (["bob"], {"ann", "bob"}), (["gm"], {"ann", "gm"})])
def test_a_whisper_is_heard_by_its_sender_and_those_it_names_only(to: list[str] | None, hear: set[str]) -> None:
    play = table()
    play.ok("ann", "chat.say", {"text": SECRET} if to is None else {"text": SECRET, "to": to})
    assert knowing(play) == hear


@pytest.mark.parametrize(
    ("mode", "see"), [("public", EVERYBODY), ("gm", {"ann", "gm"}), ("blind", {"ann", "gm"}), ("self", {"ann"})]
)
def test_a_roll_is_known_to_those_its_mode_names(mode: str, see: set[str]) -> None:
    play = table()
    play.ok("ann", "dice.roll", {"expr": "1d20", "mode": mode, "label": SECRET})
    assert knowing(play) == see


def test_who_rolls_blind_gets_no_total_anywhere() -> None:
    play = table()
    result = play.ok("ann", "dice.roll", {"expr": "1d20+100", "mode": "blind"})
    told = play.last_told("ann")
    seen = play.sees("ann")["dice"][0]
    assert told == ("dice.rolled", {"expr": "1d20+100", "mode": "blind"})
    for shown in (result, seen):
        assert "total" not in shown
        assert "detail" not in shown
    assert play.sees("gm")["dice"][0]["total"] > 100


def test_a_roll_tells_its_result_to_who_may_see_it() -> None:
    result: Any = table().ok("ann", "dice.roll", {"expr": "1d1+4", "mode": "gm"})
    assert (result["total"], result["detail"]) == (5, "1d1 (1) + 4")


@pytest.mark.parametrize(
    ("visibility", "see"),
    [("public", EVERYBODY), ("gm", {"ann", "gm"}), (["bob"], {"ann", "bob"}), ([], {"ann"}), (None, EVERYBODY)],
)
def test_a_note_is_seen_by_its_author_and_those_it_is_for(visibility: Any, see: set[str]) -> None:
    play = table()
    args: dict[str, Any] = {"id": "n", "text": SECRET}
    play.ok("ann", "note.put", args if visibility is None else {**args, "visibility": visibility})
    assert knowing(play) == see


def test_a_note_that_is_hidden_again_is_gone_for_those_who_saw_it() -> None:
    play = table()
    play.ok("gm", "note.put", {"id": "n", "text": "open"})
    play.ok("gm", "note.put", {"id": "n", "text": SECRET, "visibility": "gm"})
    assert knowing(play) == {"gm"}
    assert play.last_told("ann") == ("note.changed", {"id": "n", "gone": True})
    assert play.sees("ann")["notes"] == {}


def test_what_a_game_master_writes_for_the_game_masters_is_not_told_to_who_wrote_the_note_before() -> None:
    play = table()
    play.ok("ann", "note.put", {"id": "n", "text": "the butler?"})
    play.ok("gm", "note.put", {"id": "n", "text": SECRET, "visibility": "gm"})
    assert knowing(play) == {"gm"}
    assert play.last_told("ann") == ("note.changed", {"id": "n", "gone": True})
    assert play.sees("gm")["notes"]["n"]["author"] == "gm"
    play.holds_its_laws()


def test_the_author_of_a_public_note_stays_when_a_player_replaces_it() -> None:
    play = table()
    play.ok("ann", "note.put", {"id": "n", "text": "one"})
    play.ok("bob", "note.put", {"id": "n", "text": "two"})
    play.ok("gm", "note.append", {"id": "n", "text": " three"})
    note = play.sees("sue")["notes"]["n"]
    assert (note["text"], note["author"]) == ("two three", "ann")


def test_a_note_that_one_may_not_see_can_neither_be_changed_nor_told_from_none() -> None:
    play = table()
    play.ok("gm", "note.put", {"id": "n", "text": SECRET, "visibility": "gm"})
    for kind, args in (("note.append", {"id": "n", "text": "x"}), ("note.delete", {"id": "n"})):
        hidden = play.refused("ann", kind, args)
        absent = play.refused("ann", kind, {**args, "id": "m"})
        assert (hidden.code, hidden.message) == (absent.code, absent.message) == (Code.NOT_FOUND, absent.message)
    assert play.code("ann", "note.put", {"id": "n", "text": "x"}) is Code.ALREADY_EXISTS


def test_a_public_note_is_written_by_all_and_thrown_away_by_its_author_or_a_game_master() -> None:
    play = table()
    play.ok("ann", "note.put", {"id": "n", "text": "one"})
    play.ok("bob", "note.append", {"id": "n", "text": " two"})
    assert play.sees("sue")["notes"]["n"]["text"] == "one two"
    assert play.code("bob", "note.delete", {"id": "n"}) is Code.FORBIDDEN
    assert play.code("bob", "note.put", {"id": "n", "text": "mine", "visibility": ["bob"]}) is Code.FORBIDDEN
    play.ok("gm", "note.delete", {"id": "n"})
    assert play.sees("sue")["notes"] == {}


def test_a_hidden_token_is_for_the_game_master_only() -> None:
    play = table()
    play.ok("gm", "token.put", {"id": "t", "x": 1, "y": 2, "name": SECRET, "soul": SECRET, "hidden": True})
    play.ok("gm", "token.move", {"id": "t", "x": 3, "y": 2})
    assert play.last_told("ann") is None
    assert play.code("ann", "token.move", {"id": "t", "x": 3, "y": 2}) is Code.NOT_FOUND
    assert play.code("ann", "token.put", {"id": "t", "x": 3, "y": 2}) is Code.ALREADY_EXISTS
    assert knowing(play) == {"gm"}


def test_a_token_that_is_hidden_vanishes_and_one_that_is_shown_appears() -> None:
    play = table()
    play.ok("gm", "token.put", {"id": "t", "x": 1, "y": 2})
    play.ok("gm", "token.put", {"id": "t", "x": 1, "y": 2, "hidden": True})
    assert play.last_told("ann") == ("token.changed", {"id": "t", "gone": True})
    assert play.sees("ann")["map"]["tokens"] == {}
    play.ok("gm", "token.put", {"id": "t", "x": 4, "y": 2})
    assert play.sees("ann")["map"]["tokens"]["t"]["x"] == 4


def test_a_hidden_entry_in_the_order_is_for_the_game_master_only() -> None:
    play = table()
    entries = [
        {"id": "a", "name": "Ann", "value": 9},
        {"id": "x", "name": SECRET, "value": 8, "hidden": True},
        {"id": "b", "name": "Bob", "value": 7},
    ]
    play.ok("gm", "initiative.set", {"entries": entries})
    play.ok("gm", "combat.start")
    play.ok("gm", "initiative.next")
    assert play.last_told("ann") == ("turn.changed", {"round": 1, "turn": None, "entry": None})
    play.ok("gm", "initiative.next")
    told: Any = play.last_told("ann")
    assert (told[1]["turn"], told[1]["entry"]["id"]) == (1, "b")
    assert [entry["id"] for entry in play.sees("ann")["combat"]["entries"]] == ["a", "b"]
    assert knowing(play) == {"gm"}


def test_a_question_and_its_answer_have_one_visibility() -> None:
    play = table()
    play.ok("ann", "ai.ask", {"prompt": "Is it the butler?", "visibility": "gm"})
    play.reply(*play.command(), ok=True, result={"text": SECRET, "provider": "oracle", "degraded": False})
    assert knowing(play) == {"ann", "gm"}


def test_a_failed_question_is_told_to_who_saw_the_question() -> None:
    play = table()
    play.ok("ann", "ai.ask", {"prompt": "Is it?", "visibility": ["bob"]})
    play.reply(*play.command(), ok=False, error={"code": "AI_PROVIDER_ERROR", "message": SECRET})
    assert knowing(play) == {"ann", "bob"}
    assert not play.rules.outbox(play.state)


def test_a_provider_never_hears_a_whisper() -> None:
    play = table()
    play.ok("ann", "chat.say", {"text": SECRET, "to": ["bob"]})
    play.ok("ann", "chat.say", {"text": "What now?"})
    play.ok("ann", "ai.ask", {"prompt": "Narrate."})
    _, command = play.command()
    assert command.args == {"prompt": "Narrate.", "context": ["What now?"]}


def test_the_saga_of_a_character_is_for_no_viewer() -> None:
    play = table()
    play.ok("gm", "character.create", {"sheet": {"name": SECRET}})
    assert knowing(play) == set()


@pytest.mark.parametrize(
    ("kind", "args"),
    [
        ("chat.say", {"text": SECRET, "to": ["bob"]}),
        ("dice.roll", {"expr": "1d20", "mode": "blind"}),
        ("note.put", {"id": "n", "text": SECRET, "visibility": ["bob"]}),
        ("ai.ask", {"prompt": SECRET, "visibility": "gm"}),
    ],
)
def test_a_viewer_is_a_class_of_their_own_only_with_secrets_of_their_own(kind: str, args: Any) -> None:
    play = table()
    seat(play, "ann", "Krusk")
    assert {user: _class_of(play, user) for user in ROLES} == {user: "gm" if user == "gm" else "table" for user in ROLES}
    play.ok("ann", kind, args)
    assert _class_of(play, "ann") not in {_class_of(play, user) for user in ROLES if user != "ann"}
    assert _class_of(play, "bot") == _class_of(play, "sue") == "table"


def _class_of(play: Any, user: str) -> str:
    name: str = play.rules.viewer_class(play.state, Viewer(user, ROLES[user]))
    return name
