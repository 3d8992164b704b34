"""What happens at a table: talk, the map, members, and characters that come to it."""

from __future__ import annotations

from typing import Any

import pytest

from actors.rules import Accepted, Refused
from actors.session import SessionRules
from actors.session.state import (
    ASKS_PENDING_MAX,
    CHARACTERS_MAX,
    CHAT_WINDOW,
    CREATIONS_MAX,
    NOTE_BYTES_MAX,
    REMOVED_MAX,
    TOKENS_MAX,
)
from tests.unit.rules.playing import Play
from tests.unit.rules.tables import ROLES, join, seat, table
from undying.protocol.effects import ChangeRole, Pause, Remove, pack_effects, unpack_effects
from undying.protocol.errors import Code
from undying.protocol.events import Event, View
from undying.protocol.ids import Kind, Role
from undying.protocol.ops import OPS


def test_nothing_can_be_asked_of_a_table_before_it_was_made() -> None:
    play = Play(SessionRules(), "t1", dict(ROLES))
    assert not play.rules.exists(play.state)
    assert play.code("gm", "chat.say", {"text": "hello?"}) is Code.NOT_FOUND
    play.ok("@gateway", "session.create", {"name": "A"})
    assert play.rules.exists(play.state)
    assert play.code("@gateway", "session.create", {"name": "B"}) is Code.ALREADY_EXISTS


def test_the_chat_keeps_the_last_lines() -> None:
    play = table()
    for number in range(CHAT_WINDOW + 3):
        play.ok("ann", "chat.say", {"text": f"line {number}"})
    chat = play.sees("sue")["chat"]
    assert (len(chat), chat[0]["text"], chat[-1]["by"]) == (CHAT_WINDOW, "line 3", "ann")


def test_a_whisper_to_nobody_at_the_table_is_refused() -> None:
    assert table().code("ann", "chat.say", {"text": "psst", "to": ["eve"]}) is Code.NOT_FOUND


CLIENT_OPS = [spec for (kind, _), spec in OPS.items() if kind is Kind.SESSION and not spec.internal]


@pytest.mark.parametrize("spec", CLIENT_OPS, ids=lambda spec: spec.kind)
def test_each_op_is_refused_to_the_roles_that_may_not_ask_it(spec: Any) -> None:
    play = table()
    for user, role in ROLES.items():
        decision = play.do(user, spec.kind, "no arguments")
        assert isinstance(decision, Refused)
        assert decision.failure.code is (Code.BAD_ARGS if role in spec.roles else Code.FORBIDDEN)
    assert Role.SPECTATOR not in spec.roles


# members


def test_a_member_joins_once_and_is_told_only_once() -> None:
    play = table()
    before = len(play.entries)
    decision: Any = join(play, "ann", "gm")
    assert decision.result == {"name": "ann", "role": "player", "paused": False}
    assert len(play.entries) == before
    join(play, "ann", "player", name="Ann the Bold")
    assert play.last_told("sue") == ("member.changed", {"user": "ann", "name": "Ann the Bold", "role": "player"})


def test_a_new_role_holds_at_once_whatever_the_gateway_believes() -> None:
    play = table()
    play.ok("gm", "member.set_role", {"user": "ann", "role": "gm"})
    assert play.effects[-1] == ChangeRole("role", "ann", "gm")
    play.ok("ann", "map.set", {"scene": "cellar"}, role=Role.PLAYER)
    play.ok("ann", "member.set_role", {"user": "gm", "role": "spectator"})
    assert play.code("gm", "map.set", {"scene": "attic"}, role=Role.GM) is Code.FORBIDDEN


def test_a_table_never_loses_its_last_game_master() -> None:
    play = table()
    assert play.code("gm", "member.set_role", {"user": "gm", "role": "player"}) is Code.WRONG_STATE
    assert play.code("gm", "member.remove", {"user": "gm"}) is Code.WRONG_STATE
    play.ok("gm", "member.set_role", {"user": "ann", "role": "gm"})
    play.ok("gm", "member.remove", {"user": "gm"})


def test_a_removed_user_stays_out_until_a_newer_invitation() -> None:
    play = table()
    play.ok("gm", "member.remove", {"user": "bob"})
    removed_at_ms = play.now_ms
    assert play.effects[-1] == Remove("remove", "bob")
    assert play.code("bob", "chat.say", {"text": "let me in"}) is Code.REMOVED
    refused: Any = join(play, "bob", "player", issued=removed_at_ms)
    assert refused.failure.code is Code.REMOVED
    assert isinstance(join(play, "bob", "player", issued=removed_at_ms + 1), Accepted)
    play.ok("bob", "chat.say", {"text": "thank you"})


def test_tokens_from_before_a_removal_stay_void_when_the_user_is_back() -> None:
    play = table()
    play.ok("gm", "member.remove", {"user": "bob"})
    removed_at_ms = play.now_ms
    assert isinstance(join(play, "bob", "player", issued=removed_at_ms + 1), Accepted)
    refused: Any = join(play, "bob", "player", issued=removed_at_ms)
    assert refused.failure.code is Code.REMOVED
    assert "bob" in play.state.members
    play.holds_its_laws()


def test_a_user_may_be_removed_again_however_many_are_remembered() -> None:
    play = table()
    play.state.removed = dict.fromkeys(["bob", *(f"u{at}" for at in range(REMOVED_MAX - 1))], 1)
    play.ok("gm", "member.remove", {"user": "bob"})
    assert play.refused("gm", "member.remove", {"user": "ann"}).context == {"limit": REMOVED_MAX}


def test_a_roll_for_a_character_is_its_owners_or_a_game_masters() -> None:
    play = table()
    krusk = seat(play, "ann", "Krusk")
    for user in ("ann", "gm"):
        assert play.ok(user, "dice.roll", {"expr": "1d20", "character": krusk})["character"] == krusk
    for user, character, code in (("bob", krusk, Code.FORBIDDEN), ("gm", "nosuch", Code.NOT_FOUND)):
        refused = play.refused(user, "dice.roll", {"expr": "1d20", "character": character})
        assert (refused.code, refused.context) == (code, {"path": "character"})


def test_while_paused_only_game_masters_act() -> None:
    play = table()
    play.ok("gm", "session.pause")
    assert play.code("ann", "chat.say", {"text": "hm"}) is Code.PAUSED
    assert play.code("bot", "chat.say", {"text": "hm"}) is Code.PAUSED
    play.ok("gm", "chat.say", {"text": "Tea?"})
    play.ok("gm", "session.resume")
    play.ok("ann", "chat.say", {"text": "Two sugars."})


def test_gateways_are_told_when_a_pause_begins_and_ends() -> None:
    play = table()
    play.ok("gm", "session.pause")
    assert play.effects[-1] == Pause("pause", True)
    told = len(play.effects)
    play.ok("gm", "session.pause")
    play.ok("gm", "session.rename", {"name": "The Sunken Lantern"})
    assert len(play.effects) == told
    play.ok("gm", "session.resume")
    assert play.effects[-1] == Pause("pause", False)
    assert unpack_effects(pack_effects(play.effects)) == play.effects


def test_who_joins_is_told_whether_the_table_is_paused() -> None:
    play = table()
    play.ok("gm", "session.pause")
    known: Any = join(play, "ann", "player")
    new: Any = join(play, "eve", "player")
    assert known.result["paused"] is new.result["paused"] is True


# the map


def test_a_player_moves_their_characters_token_and_no_other() -> None:
    play = table()
    krusk = seat(play, "ann", "Krusk")
    play.ok("gm", "token.put", {"id": "k", "x": 0, "y": 0, "character": krusk})
    play.ok("ann", "token.move", {"id": "k", "x": 1, "y": 1.5})
    assert play.code("bob", "token.move", {"id": "k", "x": 9, "y": 9}) is Code.FORBIDDEN
    assert play.code("bob", "token.remove", {"id": "k"}) is Code.FORBIDDEN
    assert play.code("bob", "token.put", {"id": "k", "x": 9, "y": 9}) is Code.FORBIDDEN
    assert play.code("bob", "token.put", {"id": "b", "x": 9, "y": 9, "character": krusk}) is Code.FORBIDDEN
    token = play.sees("sue")["map"]["tokens"]["k"]
    assert (token["x"], token["y"]) == (1, 1.5)


def test_a_token_that_a_player_put_down_is_theirs() -> None:
    play = table()
    play.ok("ann", "token.put", {"id": "cat", "x": 0, "y": 0})
    play.ok("gm", "token.put", {"id": "cat", "x": 3, "y": 0, "name": "Cat"})
    play.ok("ann", "token.move", {"id": "cat", "x": 1, "y": 0})
    play.ok("ann", "token.remove", {"id": "cat"})
    assert play.sees("sue")["map"]["tokens"] == {}


def test_a_token_shows_whatever_a_client_said_of_it() -> None:
    play = table()
    token = {"id": "t", "x": 1, "y": 2, "size": "large", "light": {"bright": 20, "dim": 40}, "facing": None}
    play.ok("ann", "token.put", token)
    assert token.items() <= play.sees("sue")["map"]["tokens"]["t"].items()
    told: Any = play.last_told("sue")
    assert token.items() <= told[1].items()
    play.ok("ann", "token.put", {"id": "t", "x": 1, "y": 2})
    assert "light" not in play.sees("sue")["map"]["tokens"]["t"]
    play.holds_its_laws()


def test_no_token_says_that_it_is_somebody_elses_or_gone() -> None:
    play = table()
    play.ok("ann", "token.put", {"id": "t", "x": 1, "y": 2, "by": "gm", "gone": True})
    token = play.sees("sue")["map"]["tokens"]["t"]
    assert token["by"] == "ann"
    assert "gone" not in token


def test_a_new_scene_leaves_the_tokens_where_they_are() -> None:
    play = table()
    play.ok("gm", "token.put", {"id": "t", "x": 1, "y": 2})
    play.ok("gm", "map.set", {"scene": "cellar", "grid": {"size": 5}})
    board = play.sees("sue")["map"]
    assert (board["scene"], board["grid"], list(board["tokens"])) == ("cellar", {"size": 5}, ["t"])


# bounds


def test_each_bound_of_a_table_is_refused_with_its_limit() -> None:
    play = table()
    for number in range(ASKS_PENDING_MAX):
        play.ok("ann", "ai.ask", {"prompt": f"question {number}"})
    assert play.code("ann", "ai.ask", {"prompt": "one more"}) is Code.LIMIT_EXCEEDED
    for number in range(TOKENS_MAX):
        play.rules.evolve(play.state, _token_event(number))
    refused = play.refused("gm", "token.put", {"id": "one-more", "x": 0, "y": 0})
    assert (refused.code, refused.context) == (Code.LIMIT_EXCEEDED, {"limit": TOKENS_MAX})
    play.ok("gm", "token.put", {"id": "t0", "x": 5, "y": 5})
    play.ok("ann", "note.put", {"id": "n", "text": "x" * 10_000})
    for _ in range(NOTE_BYTES_MAX // 10_000 - 1):
        play.ok("ann", "note.append", {"id": "n", "text": "x" * 10_000})
    assert play.code("ann", "note.append", {"id": "n", "text": "x"}) is Code.LIMIT_EXCEEDED


def _token_event(number: int) -> Any:
    absent = dict.fromkeys(("name", "image", "size", "rotation", "color", "character"))
    data: Any = {"id": f"t{number}", "x": 0, "y": 0, "hidden": False, "by": "gm", **absent}
    return Event(1, "token.changed", "gm", 0, (View(None, data),))


def test_characters_under_way_count_towards_the_bounds() -> None:
    play = table()
    for _ in range(CREATIONS_MAX):
        play.ok("gm", "character.create", {"sheet": {"name": "K"}})
    assert play.code("ann", "character.create", {"sheet": {"name": "K"}}) is Code.LIMIT_EXCEEDED
    full = table()
    seated = [seat(full, "gm", "K") for _ in range(CHARACTERS_MAX)]
    assert full.code("ann", "character.create", {"sheet": {"name": "K"}}) is Code.LIMIT_EXCEEDED
    full.ok("gm", "character.unseat", {"character": seated[0]})
    seat(full, "ann", "K")
    assert full.code("gm", "character.seat", {"character": seated[0]}) is Code.LIMIT_EXCEEDED
