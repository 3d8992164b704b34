"""A table is bounded in bytes, whatever it is filled with, and nobody takes away the room of the others."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest

from actors.rules import Accepted, Context, Op, Refused
from actors.session import SessionRules, SessionState
from actors.session.state import (
    ASKS_BYTES_MAX,
    CHARACTERS_KNOWN_MAX,
    CHARACTERS_OWNER_MAX,
    CHAT_BYTES_MAX,
    DICE_BYTES_MAX,
    MEMBERS_MAX,
    NOTES_AUTHOR_BYTES_MAX,
    NOTES_AUTHOR_MAX,
    NOTES_BYTES_MAX,
    SNAPSHOT_BYTES_MAX,
    TOKENS_BYTES_MAX,
)
from tests.unit.rules.tables import ROLES, join, seat, table
from undying.protocol.errors import Code
from undying.protocol.events import Event, Viewer
from undying.protocol.ids import Role
from undying.protocol.session_ops import ENTRIES_MAX

DRAGON = "🐉"
LONG_NAME = DRAGON * 100
LONG_ID = "i" * 61
EVERYBODY = [f"{LONG_ID}{at:03}" for at in range(64)]


class Filling:
    """A table that is filled up: like `Play`, without checks of laws that take as long as the state is large."""

    def __init__(self) -> None:
        self.rules = SessionRules()
        self.state: SessionState = self.rules.initial(LONG_ID)
        self._ops = 0
        assert self.takes("session.create", {"name": LONG_NAME}, "@gateway")

    def takes(self, kind: str, args: Any, user: str = "gm") -> bool:
        self._ops += 1
        role = Role.SYSTEM if user.startswith("@") else Role.GM
        op = Op(f"op-{self._ops}", kind, args, user, role)
        decision = self.rules.decide(self.state, op, Context(2**42, random.Random(self._ops)))
        if isinstance(decision, Refused):
            assert decision.failure.code is Code.LIMIT_EXCEEDED, decision
            return False
        for draft in decision.events:
            self.rules.evolve(self.state, Event(self._ops, draft.kind, draft.by or user, 2**42, draft.views))
        return True

    def takes_all(self, ops: Iterator[tuple[str, Any]], user: str = "gm") -> None:
        """Ask until one is refused."""
        assert not all(self.takes(kind, args, user) for kind, args in ops)

    def replies(self, **outcome: Any) -> None:
        for key, command in list(self.rules.outbox(self.state).items()):
            assert self.takes("@replied", {"key": key, **outcome}, f"@{command.to}")

    def bytes_of(self, part: str) -> int:
        shown: Any = self.rules.project(self.state, Viewer("gm", Role.GM))
        return len(msgpack.packb(shown[part]))


def fill_members(filling: Filling) -> None:
    for at in range(MEMBERS_MAX):
        args = {"user": f"{LONG_ID}{at:03}" if at else "gm", "name": LONG_NAME, "role": "gm", "issued": 1}
        assert filling.takes("member.join", args, "@gateway")


def fill_chat(filling: Filling) -> None:
    for _ in range(60):
        assert filling.takes("chat.say", {"text": DRAGON * 10_000})
    for _ in range(300):
        assert filling.takes("chat.say", {"text": DRAGON * 50, "to": EVERYBODY[1:20]})


def fill_dice(filling: Filling) -> None:
    character = make_character(filling)
    for _ in range(300):
        assert filling.takes("dice.roll", {"expr": "500d6", "label": LONG_NAME, "character": character, "mode": "gm"})


def fill_asks(filling: Filling) -> None:
    ask = {"prompt": DRAGON * 4_000, "visibility": EVERYBODY}
    for _ in range(6):
        filling.takes_all(("ai.ask", ask) for _ in range(100))
        filling.replies(ok=True, result={"text": DRAGON * 20_000, "provider": "p" * 100})
    filling.takes_all(("ai.ask", ask) for _ in range(100))


def fill_combat(filling: Filling) -> None:
    entries = [
        {"id": f"{LONG_ID}{at:03}", "name": LONG_NAME, "value": at + 0.5, "character": LONG_ID, "hidden": True}
        for at in range(ENTRIES_MAX)
    ]
    assert filling.takes("initiative.set", {"entries": entries}, "i" * 64)
    assert filling.takes("combat.start", {})


def fill_notes(filling: Filling) -> None:
    put = {"title": LONG_NAME, "visibility": EVERYBODY}
    filling.takes_all(("note.put", {**put, "id": f"{LONG_ID}{at:03}", "text": "x"}) for at in range(600))
    filling.takes_all(("note.append", {"id": f"{LONG_ID}{at:03}", "text": DRAGON * 9_000}) for at in range(500))


def fill_map(filling: Filling) -> None:
    looks = {"name": LONG_NAME, "image": "x" * 100, "color": LONG_NAME, "size": DRAGON * 32, "rotation": 0.5}
    token = {"x": 0.5, "y": 0.5, **looks, "aura": {LONG_NAME: [0.5] * 20}}
    filling.takes_all(("token.put", {**token, "id": f"{LONG_ID}{at:03}"}) for at in range(2_000))
    grid = {"k": [2**52] * 1_500}
    assert filling.takes("map.set", {"scene": LONG_NAME, "grid": grid, "image": "x" * 2_000})


def make_character(filling: Filling) -> str:
    assert filling.takes("character.create", {"sheet": {"name": LONG_NAME}, "owner": EVERYBODY[1]})
    filling.replies(ok=True, result={})
    character = list(filling.state.characters)[-1]
    assert filling.takes("character.unseat", {"character": character})
    return character


def fill_characters(filling: Filling) -> None:
    while len(filling.state.characters) < CHARACTERS_KNOWN_MAX:
        make_character(filling)
    filling.takes_all(("character.create", {"sheet": {"name": "one more"}}) for _ in range(1))


@pytest.fixture(scope="module")
def full() -> Filling:
    filling = Filling()
    fill_members(filling)
    for fill in (fill_chat, fill_dice, fill_asks, fill_combat, fill_notes, fill_map, fill_characters):
        fill(filling)
    return filling


def test_a_snapshot_of_a_table_that_is_full_of_dragons_stays_within_its_bytes(full: Filling) -> None:
    snapshot = full.rules.project(full.state, Viewer("gm", Role.GM))
    assert SNAPSHOT_BYTES_MAX // 2 < len(msgpack.packb(snapshot)) <= SNAPSHOT_BYTES_MAX


@pytest.mark.parametrize(
    ("part", "bytes_max"),
    [
        ("chat", CHAT_BYTES_MAX),
        ("dice", DICE_BYTES_MAX),
        ("asks", ASKS_BYTES_MAX),
        ("notes", NOTES_BYTES_MAX),
        ("map", TOKENS_BYTES_MAX + 20_000),
    ],
)
def test_each_part_of_a_full_table_stays_within_its_bytes(full: Filling, part: str, bytes_max: int) -> None:
    assert full.bytes_of(part) <= bytes_max


def test_the_sums_that_are_kept_along_are_those_of_a_state_that_is_loaded(full: Filling) -> None:
    assert full.rules.load(full.rules.dump(full.state)) == full.state


def test_a_long_line_pushes_out_as_many_old_ones_as_it_needs() -> None:
    filling = Filling()
    for at in range(20):
        assert filling.takes("chat.say", {"text": f"{at}" + "x" * 5_000})
    for _ in range(6):
        assert filling.takes("chat.say", {"text": DRAGON * 10_000})
    assert [len(line.text) for line in filling.state.chat[-6:]] == [10_000] * 6
    assert 6 <= len(filling.state.chat) < 20


def test_a_full_map_still_lets_tokens_be_moved_and_made_smaller() -> None:
    filling = Filling()
    fill_map(filling)
    token_id = next(iter(filling.state.board.tokens))
    assert filling.takes("token.move", {"id": token_id, "x": 1, "y": 1})
    assert filling.takes("token.put", {"id": token_id, "x": 1, "y": 1})
    assert filling.takes("token.put", {"id": "small", "x": 1, "y": 1})


# nobody takes away the room of the others


def test_one_player_writes_so_many_notes_and_the_others_still_have_room() -> None:
    play = table()
    for at in range(NOTES_AUTHOR_MAX):
        play.ok("ann", "note.put", {"id": f"n{at}", "text": "mine", "visibility": []})
    assert play.refused("ann", "note.put", {"id": "more", "text": "x"}).context == {"limit": NOTES_AUTHOR_MAX}
    play.ok("ann", "note.append", {"id": "n0", "text": "and mine"})
    play.ok("bob", "note.put", {"id": "b", "text": "his"})


def test_one_player_writes_so_much_and_may_write_less_again() -> None:
    play = table()
    at = 0
    while isinstance(play.do("ann", "note.put", {"id": f"n{at}", "text": "x" * 10_000}), Accepted):
        at += 1
    assert at == NOTES_AUTHOR_BYTES_MAX // 10_400
    play.ok("gm", "note.append", {"id": "n0", "text": "x" * 10_000})
    assert play.code("bob", "note.append", {"id": "n0", "text": "x" * 100}) is Code.LIMIT_EXCEEDED
    play.ok("ann", "note.put", {"id": "n0", "text": "short"})
    play.ok("gm", "note.put", {"id": "g", "text": "x" * 10_000})
    play.ok("bob", "note.append", {"id": "g", "text": "x" * 10_000})


def test_a_game_master_throws_away_a_note_that_they_do_not_see() -> None:
    play = table()
    play.ok("ann", "note.put", {"id": "n", "text": "secret", "visibility": ["bob"]})
    assert play.code("gm", "note.append", {"id": "n", "text": "x"}) is Code.NOT_FOUND
    play.ok("gm", "note.delete", {"id": "n"})
    assert play.last_told("gm") is None
    assert play.last_told("bob") == ("note.changed", {"id": "n", "gone": True})
    assert not play.state.notes


def test_the_notes_for_named_users_go_with_their_author_and_the_others_stay() -> None:
    play = table()
    for note, visibility in (("diary", []), ("letter", ["ann"]), ("hint", "gm"), ("rules", "public")):
        play.ok("bob", "note.put", {"id": note, "text": "x", "visibility": visibility})
    play.ok("ann", "note.put", {"id": "hers", "text": "x", "visibility": ["bob"]})
    play.ok("gm", "member.remove", {"user": "bob"})
    assert set(play.state.notes) == {"hint", "rules", "hers"}
    assert set(play.sees("ann")["notes"]) == {"rules", "hers"}
    assert play.told("ann")[-1] == ("note.changed", {"id": "letter", "gone": True})
    assert "diary" not in str(play.told("ann"))
    play.holds_its_laws()


def test_a_player_makes_so_many_characters_and_a_game_master_may_give_them_more() -> None:
    play = table()
    for _ in range(CHARACTERS_OWNER_MAX):
        unseated = seat(play, "ann", "K")
        play.ok("gm", "character.unseat", {"character": unseated})
    assert play.refused("ann", "character.create", {"sheet": {"name": "K"}}).context == {"limit": CHARACTERS_OWNER_MAX}
    seat(play, "bob", "K")
    seat(play, "gm", "K", owner="ann")


def test_a_sheet_that_no_character_could_have_begins_no_saga() -> None:
    play = table()
    sheet = {"name": "K", "notes": [{"text": "x" * 2_000}] * 100}
    assert play.code("ann", "character.create", {"sheet": sheet}) is Code.LIMIT_EXCEEDED
    assert not play.rules.outbox(play.state)


def test_questions_that_wait_have_so_many_bytes_together() -> None:
    play = table()
    asked = 0
    while isinstance(play.do("ann", "ai.ask", {"prompt": DRAGON * 4_000}), Accepted):
        asked += 1
    assert asked == 4
    play.ok("ann", "ai.ask", {"prompt": "a short one"})


@pytest.mark.parametrize("name", [DRAGON * 101, "名" * 134])
def test_a_name_is_bounded_in_bytes(name: str) -> None:
    play = table()
    assert play.code("gm", "session.rename", {"name": name}) is Code.BAD_ARGS
    play.ok("gm", "session.rename", {"name": name[:-1]})
    assert join(play, "eve", "player", name=name).failure.code is Code.BAD_ARGS
    assert set(play.state.members) == set(ROLES)
