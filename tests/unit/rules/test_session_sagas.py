"""What a table wants of others: characters that are made by a saga, and answers of AI providers."""

from __future__ import annotations

from typing import Any

from actors.session.narrator import ANSWER_MAX
from tests.unit.rules.tables import ROLES, seat, table
from undying.protocol.effects import CloseStream, OpenStream
from undying.protocol.errors import Code
from undying.protocol.events import Viewer


def test_making_a_character_is_answered_when_it_sits_at_the_table() -> None:
    play = table()
    decision: Any = play.do("ann", "character.create", {"sheet": {"name": "Krusk"}})
    assert decision.later
    key, command = play.command()
    assert (command.kind, command.create, command.args["owner"], command.args["session"]) == (
        "character.store",
        True,
        "ann",
        "t1",
    )
    play.reply(key, command, ok=True, result={})
    character = command.to.removeprefix("character:")
    (settlement,) = play.settled
    assert (settlement.user, settlement.id, settlement.result) == ("ann", "op-7", {"character": character})
    assert [kind for kind, _ in play.told("sue")][-2:] == ["character.created", "character.seated"]
    assert play.effects[-1] == OpenStream("open", command.to, None)
    assert play.sees("sue")["characters"] == {character: {"name": "Krusk", "owner": "ann", "seated": True}}
    assert not play.rules.outbox(play.state)
    play.holds_its_laws()


def test_a_command_waits_through_a_restart() -> None:
    play = table()
    play.ok("ann", "character.create", {"sheet": {"name": "Krusk"}})
    assert play.rules.outbox(play.rules.load(play.rules.dump(play.state))) == play.rules.outbox(play.state)


def test_a_character_that_can_not_be_stored_leaves_nothing_behind() -> None:
    play = table()
    play.ok("ann", "character.create", {"sheet": {"name": "Krusk"}})
    play.reply(*play.command(), ok=False, error={"code": "LIMIT_EXCEEDED", "message": "too large", "secret": "x"})
    failure: Any = play.settled[0].failure
    assert failure.code is Code.SAGA_COMPENSATED
    assert failure.context == {"step": "store", "cause": {"code": "LIMIT_EXCEEDED", "message": "too large"}}
    assert not play.state.characters
    assert not play.state.creations


def test_a_character_of_which_nobody_can_tell_whether_it_was_stored_is_retired() -> None:
    play = table()
    play.ok("ann", "character.create", {"sheet": {"name": "Krusk"}})
    gone = {"code": "QUARANTINED", "message": "failed too often"}
    play.reply(*play.command(), ok=False, error=gone, heard=False)
    assert not play.settled
    key, command = play.command()
    assert (command.kind, command.create) == ("character.retire", False)
    play.reply(key, command, ok=False, error=gone, heard=False)
    failure: Any = play.settled[0].failure
    assert failure.code is Code.SAGA_COMPENSATED
    assert failure.context == {"step": "store", "cause": gone}
    assert not play.rules.outbox(play.state)
    play.holds_its_laws()


def test_a_character_whose_owner_left_meanwhile_is_retired_again() -> None:
    play = table()
    play.ok("bob", "character.create", {"sheet": {"name": "Krusk"}})
    play.ok("gm", "member.remove", {"user": "bob"})
    play.reply(*play.command(), ok=True, result={})
    assert not play.settled
    key, command = play.command()
    assert (command.kind, command.create) == ("character.retire", False)
    play.reply(key, command, ok=True, result={})
    failure: Any = play.settled[0].failure
    assert (failure.code, failure.context["step"]) == (Code.SAGA_COMPENSATED, "seat")
    assert not play.state.characters
    assert not play.state.creations
    assert not play.rules.outbox(play.state)
    play.holds_its_laws()


def test_an_answer_that_nobody_waits_for_changes_nothing() -> None:
    play = table()
    play.ok("ann", "character.create", {"sheet": {"name": "Krusk"}})
    key, command = play.command()
    play.reply(key, command, ok=True, result={})
    before = len(play.entries)
    for late in (key, key.replace("store", "retire"), "ask-nothing", "nonsense"):
        play.reply(late, command, ok=True, result={})
    assert len(play.entries) == before


def test_a_player_owns_what_they_make_and_a_game_master_names_the_owner() -> None:
    play = table()
    assert play.code("ann", "character.create", {"sheet": {"name": "K"}, "owner": "bob"}) is Code.FORBIDDEN
    assert play.code("gm", "character.create", {"sheet": {"name": "K"}, "owner": "eve"}) is Code.NOT_FOUND
    assert play.state.characters == {}
    npc, given = seat(play, "gm", "Goblin"), seat(play, "gm", "Krusk", owner="bob")
    assert (play.state.characters[npc].owner, play.state.characters[given].owner) == (None, "bob")


def test_a_character_leaves_the_table_and_comes_back() -> None:
    play = table()
    krusk = seat(play, "ann", "Krusk")
    play.ok("gm", "character.unseat", {"character": krusk})
    assert play.effects[-1] == CloseStream("close", f"character:{krusk}", "unseated")
    assert play.rules.streams(play.state, play_viewer("ann")) == []
    assert play.code("gm", "character.unseat", {"character": krusk}) is Code.NOT_FOUND
    assert play.code("gm", "character.seat", {"character": "from-elsewhere"}) is Code.NOT_FOUND
    play.ok("gm", "character.seat", {"character": krusk})
    assert play.rules.streams(play.state, play_viewer("ann")) == [f"character:{krusk}"]


def play_viewer(user: str) -> Any:
    return Viewer(user, ROLES[user])


def test_a_question_is_asked_of_the_oracle_and_answered() -> None:
    play = table()
    result = play.ok("ann", "ai.ask", {"prompt": "Is it the butler?"})
    key, command = play.command()
    assert (command.to, command.kind, command.create) == ("provider:oracle", "ask", True)
    play.reply(key, command, ok=True, result={"text": "Yes, but", "provider": "oracle", "degraded": True})
    answer = {"ask": result["ask"], "text": "Yes, but", "provider": "oracle", "degraded": True}
    assert play.last_told("sue") == ("ai.answered", answer)
    assert not play.rules.outbox(play.state)


def test_a_provider_that_nobody_runs_is_not_asked() -> None:
    assert table().code("ann", "ai.ask", {"prompt": "Is it?", "provider": "delphi"}) is Code.NOT_FOUND


def test_an_answer_without_a_text_is_a_failure() -> None:
    play = table()
    play.ok("ann", "ai.ask", {"prompt": "Is it?"})
    play.reply(*play.command(), ok=True, result={"nonsense": 1})
    told: Any = play.last_told("ann")
    assert (told[0], told[1]["error"]["code"]) == ("ai.failed", "AI_PROVIDER_ERROR")


def test_an_answer_of_any_size_is_taken_and_bounded() -> None:
    play = table()
    play.ok("ann", "ai.ask", {"prompt": "Tell me everything."})
    play.reply(*play.command(), ok=True, result={"text": "x" * 1_000_000, "extra": [[[[[[[[]]]]]]]]})
    told: Any = play.last_told("ann")
    assert len(told[1]["text"]) == ANSWER_MAX
