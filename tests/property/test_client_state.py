"""The SDK's state against the server's own rules: a snapshot and every event since lead to what the next snapshot says."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.property.test_rules_laws import CHARACTER_OPS, SESSION_OPS, play_one
from tests.unit.rules.playing import Play, through_the_journal
from tests.unit.rules.tables import ROLES, character, table
from undying.client.events import SNAPSHOT, TableEvent
from undying.client.state import TableState
from undying.protocol.effects import ChangeRole
from undying.protocol.events import Viewer, project
from undying.protocol.position import Position


class Seat:
    """A viewer and the SDK's state for them."""

    def __init__(self, play: Play[Any], user: str, stream: str) -> None:
        self.viewer = Viewer(user, ROLES[user])
        self.stream = stream
        self.state = TableState()
        self.take_snapshot(play)

    def take_snapshot(self, play: Play[Any]) -> None:
        members = getattr(play.state, "members", {})
        if self.viewer.user in members:
            self.viewer = Viewer(self.viewer.user, members[self.viewer.user].role)
        self.state.apply(TableEvent(self.stream, SNAPSHOT, through_the_journal(play.rules.project(play.state, self.viewer))))

    def hear(self, entry: Any) -> None:
        wire: Any = project(entry, self.viewer)
        if wire is not None:
            data = through_the_journal(wire["d"])
            self.state.apply(TableEvent(self.stream, wire["k"], data, wire["by"], wire["at"], Position(1, wire["n"])))


@settings(max_examples=200, deadline=None)
@given(st.lists(SESSION_OPS, max_size=40), st.integers(0, 2**32))
def test_a_session_as_the_client_knows_it_is_the_servers_snapshot(ops: list[tuple[str, str, Any]], seed: int) -> None:
    play = table(seed)
    seats = [Seat(play, user, "session:t1") for user in ROLES]
    for user, kind, args in ops:
        heard, felt = len(play.entries), len(play.effects)
        play_one(play, user, kind, args)
        for seat in seats:
            if any(isinstance(effect, ChangeRole) and effect.user == seat.viewer.user for effect in play.effects[felt:]):
                seat.take_snapshot(play)
                continue
            for entry in play.entries[heard:]:
                seat.hear(entry)
    for seat in seats:
        assert seat.state.session == through_the_journal(play.rules.project(play.state, seat.viewer))


@settings(max_examples=200, deadline=None)
@given(st.lists(CHARACTER_OPS, max_size=30), st.sampled_from(["ann", None]))
def test_a_character_as_the_client_knows_it_is_the_servers_snapshot(ops: list[tuple[str, str, Any]], owner: str | None) -> None:
    play = character(owner, hp={"max": 20})
    seats = [Seat(play, user, "character:c1") for user in ROLES]
    for user, kind, args in ops:
        heard = len(play.entries)
        play.do(user, kind, args)
        for entry in play.entries[heard:]:
            for seat in seats:
                seat.hear(entry)
    for seat in seats:
        known = through_the_journal(play.rules.project(play.state, seat.viewer))
        assert seat.state.streams["character:c1"] == known
        assert seat.state.sheet("c1") == known["sheet"]


@settings(max_examples=100, deadline=None)
@given(st.lists(SESSION_OPS, max_size=20), st.integers(0, 2**32))
def test_a_state_that_somebody_holds_on_to_stays_what_it_was(ops: list[tuple[str, str, Any]], seed: int) -> None:
    play = table(seed)
    seat = Seat(play, "gm", "session:t1")
    for user, kind, args in ops:
        held = seat.state.session
        before = copy.deepcopy(held)
        heard = len(play.entries)
        play_one(play, user, kind, args)
        for entry in play.entries[heard:]:
            seat.hear(entry)
        assert held == before
