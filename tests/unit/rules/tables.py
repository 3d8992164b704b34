"""Tables and characters for tests: one game master, two players, a spectator and an agent."""

from __future__ import annotations

from typing import Any

from actors.character import CharacterRules, CharacterState
from actors.rules import Accepted
from actors.session import SessionRules, SessionState
from tests.unit.rules.playing import Play
from undying.protocol.ids import Role

ROLES = {"gm": Role.GM, "ann": Role.PLAYER, "bob": Role.PLAYER, "sue": Role.SPECTATOR, "bot": Role.AGENT}


def join(play: Play[SessionState], user: str, role: str, name: str | None = None, issued: int = 1) -> Any:
    return play.do("@gateway", "member.join", {"user": user, "name": name or user, "role": role, "issued": issued})


def table(seed: int = 0) -> Play[SessionState]:
    play = Play(SessionRules(), "t1", dict(ROLES), seed)
    play.ok("@gateway", "session.create", {"name": "The Drowned Lantern"})
    for user, role in ROLES.items():
        assert isinstance(join(play, user, role.value), Accepted)
    return play


def seat(play: Play[SessionState], user: str, name: str, owner: str | None = None) -> str:
    """Make a character through its saga."""
    args: dict[str, Any] = {"sheet": {"name": name}}
    if owner is not None:
        args["owner"] = owner
    play.ok(user, "character.create", args)
    key, command = play.command()
    play.reply(key, command, ok=True, result={})
    character = (play.settled[-1].result or {})["character"]
    assert isinstance(character, str)
    return character


def character(owner: str | None = "ann", **sheet: Any) -> Play[CharacterState]:
    play = Play(CharacterRules(), "c1", dict(ROLES))
    args = {"sheet": {"name": "Krusk", **sheet}, "owner": owner, "session": "t1"}
    play.ok("@session:t1", "character.store", args)
    return play
