"""The laws of `actors.rules`, and the visibility law, over random runs of ops."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.provider import ProviderRules
from actors.rules import Accepted, Context, Op, Refused
from actors.session import SessionState
from tests.unit.rules.playing import Play, through_the_journal
from tests.unit.rules.tables import ROLES, character, table
from undying.protocol.effects import ChangeRole
from undying.protocol.errors import Code
from undying.protocol.events import Viewer, project
from undying.protocol.ids import Role
from undying.protocol.sheet import check_sheet

USERS = st.sampled_from(sorted(ROLES))
IDS = st.sampled_from(["a", "b", "c"])
TEXTS = st.text(min_size=1, max_size=8)
NUMBERS = st.one_of(st.integers(-20, 20), st.floats(-20, 20))
SOME_USERS = st.lists(USERS, max_size=2)
VISIBILITY = st.one_of(st.sampled_from(["public", "gm"]), SOME_USERS)
ANY_DATA = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=6,
)


def op(kind: str, optional: dict[str, st.SearchStrategy[Any]] | None = None, /, **args: st.SearchStrategy[Any]) -> Any:
    return st.tuples(USERS, st.just(kind), st.fixed_dictionaries(args, optional=optional or {}))


ROLLS = st.sampled_from(["2d6", "2d6", "2d6", "3/(1d2-1)", "300d2e2", "1d6+", "501d6"])
ENTRY = st.fixed_dictionaries({"id": IDS, "name": TEXTS, "value": NUMBERS}, optional={"hidden": st.booleans()})
SESSION_OPS = st.one_of(
    op("chat.say", {"to": SOME_USERS}, text=TEXTS),
    op("dice.roll", {"label": TEXTS}, expr=ROLLS, mode=st.sampled_from(["public", "gm", "blind", "self"])),
    op("combat.start"),
    op("combat.end"),
    op("initiative.set", entries=st.lists(ENTRY, max_size=3, unique_by=lambda entry: entry["id"])),
    op("initiative.add", entry=ENTRY),
    op("initiative.remove", id=IDS),
    op("initiative.next"),
    op("initiative.prev"),
    op("note.put", {"visibility": VISIBILITY, "title": TEXTS}, id=IDS, text=TEXTS),
    op("note.append", id=IDS, text=TEXTS),
    op("note.delete", id=IDS),
    op("map.set", {"grid": st.just({"size": 5, "offset": [1, 2]})}, scene=TEXTS),
    op(
        "token.put",
        {"hidden": st.booleans(), "name": TEXTS, "size": NUMBERS | TEXTS, "gone": ANY_DATA, "more": ANY_DATA},
        id=IDS,
        x=NUMBERS,
        y=NUMBERS,
    ),
    op("token.move", id=IDS, x=NUMBERS, y=NUMBERS),
    op("token.remove", id=IDS),
    op("character.create", {"owner": USERS}, sheet=st.fixed_dictionaries({"name": TEXTS})),
    op("member.set_role", user=USERS, role=st.sampled_from(["gm", "player", "spectator", "agent"])),
    op("ai.ask", {"visibility": VISIBILITY}, prompt=TEXTS),
    op("session.rename", name=TEXTS),
    op("session.pause"),
    op("session.resume"),
    st.tuples(USERS, st.just("reply"), st.booleans()),
    op("member.remove", user=USERS),
    st.tuples(USERS, st.sampled_from(["chat.say", "token.put", "note.put", "@replied", "nonsense"]), ANY_DATA),
)


def play_one(play: Play[SessionState], user: str, kind: str, args: Any) -> None:
    if kind != "reply":
        play.do(user, kind, args)
        return
    for key, command in list(play.rules.outbox(play.state).items())[:1]:
        if args:
            play.reply(key, command, ok=True, result={"text": "so it is", "provider": "oracle", "degraded": False})
        else:
            play.reply(key, command, ok=False, error={"code": "INTERNAL", "message": "no"})


@settings(max_examples=150, deadline=None)
@given(st.lists(SESSION_OPS, max_size=30), st.integers(0, 2**32))
def test_a_session_is_what_its_journal_says(ops: list[tuple[str, str, Any]], seed: int) -> None:
    play = table(seed)
    for user, kind, args in ops:
        play_one(play, user, kind, args)
    play.holds_its_laws()


class Client:
    """What a viewer knows: a snapshot, and every event since, applied by rules of its own."""

    def __init__(self, play: Play[SessionState], user: str) -> None:
        self.viewer = Viewer(user, ROLES[user])
        self.take_snapshot(play)

    def take_snapshot(self, play: Play[SessionState]) -> None:
        member = play.state.members.get(self.viewer.user)
        if member is not None:
            self.viewer = Viewer(self.viewer.user, member.role)
        self.known = through_the_journal(play.rules.project(play.state, self.viewer))

    def hear(self, entry: Any) -> None:
        wire: Any = project(entry, self.viewer)
        if wire is None:
            return
        data, stamped = wire["d"], {**wire["d"], "by": wire["by"], "at": wire["at"]}
        match wire["k"]:
            case "chat.said":
                self.known["chat"].append(stamped)
            case "dice.rolled":
                self.known["dice"].append(stamped)
            case "combat.started" | "combat.ended" | "initiative.changed" | "turn.changed":
                self.known["combat"].update(data)
            case "note.changed":
                self._put(self.known["notes"], data)
            case "token.changed":
                self._put(self.known["map"]["tokens"], data)
            case "token.moved":
                self.known["map"]["tokens"][data["id"]].update(data)
            case "token.removed":
                del self.known["map"]["tokens"][data["id"]]
            case "map.changed":
                self.known["map"].update(data)
            case "session.changed":
                self.known.update(data)
            case "member.changed":
                self.known["members"][data["user"]] = data
            case "member.removed":
                del self.known["members"][data["user"]]
            case "character.created" | "character.seated":
                seated = wire["k"] == "character.seated"
                self.known["characters"][data["character"]] = {"name": data["name"], "owner": data["owner"], "seated": seated}
            case "ai.asked":
                self.known["asks"].append(stamped)
            case "ai.answered" | "ai.failed":
                next(ask for ask in self.known["asks"] if ask["ask"] == data["ask"]).update(data)
            case unknown:
                raise AssertionError(f"{unknown} is told and means nothing")

    @staticmethod
    def _put(things: dict[str, Any], data: Any) -> None:
        if data.get("gone"):
            del things[data["id"]]
        else:
            things[data["id"]] = data


@settings(max_examples=250, deadline=None)
@given(st.lists(SESSION_OPS, max_size=40), st.integers(0, 2**32))
def test_a_snapshot_is_exactly_what_the_events_told_that_viewer(ops: list[tuple[str, str, Any]], seed: int) -> None:
    play = table(seed)
    clients = [Client(play, user) for user in ROLES]
    for user, kind, args in ops:
        heard, felt = len(play.entries), len(play.effects)
        play_one(play, user, kind, args)
        for client in clients:
            if any(isinstance(effect, ChangeRole) and effect.user == client.viewer.user for effect in play.effects[felt:]):
                client.take_snapshot(play)
                continue
            for entry in play.entries[heard:]:
                client.hear(entry)
    for client in clients:
        assert client.known == through_the_journal(play.rules.project(play.state, client.viewer))


@settings(max_examples=150, deadline=None)
@given(st.lists(SESSION_OPS, max_size=30), st.integers(0, 2**32))
def test_viewers_of_one_class_get_the_same_projection(ops: list[tuple[str, str, Any]], seed: int) -> None:
    play = table(seed)
    for user, kind, args in ops:
        play_one(play, user, kind, args)
    projections: dict[str, Any] = {}
    for user in (*ROLES, "nobody"):
        for role in (Role.GM, Role.PLAYER, Role.SPECTATOR):
            viewer = Viewer(user, role)
            projection = play.rules.project(play.state, viewer)
            assert projections.setdefault(play.rules.viewer_class(play.state, viewer), projection) == projection


NOTE_OPS = st.one_of(
    op("note.put", {"visibility": VISIBILITY}, id=IDS, text=TEXTS),
    op("note.append", id=IDS, text=TEXTS),
    op("note.delete", id=IDS),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(NOTE_OPS, max_size=40))
def test_what_a_game_master_puts_for_the_game_masters_is_told_to_nobody_else(ops: list[tuple[str, str, Any]]) -> None:
    play = table()
    for user, kind, args in ops:
        taken = isinstance(play.do(user, kind, args), Accepted)
        if taken and user == "gm" and kind == "note.put" and args.get("visibility") == "gm":
            told = [play.last_told(other) for other in ROLES if other != "gm"]
            assert all(event is None or event[1] == {"id": args["id"], "gone": True} for event in told)


CHANGES_TO_OTHERS = st.one_of(
    st.just(("next",)),
    st.tuples(st.just("add"), st.integers(-5, 5)),
    st.tuples(st.just("remove"), st.integers(0, 9)),
    st.tuples(st.just("rename"), st.integers(0, 9)),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(-5, 5), min_size=1, max_size=6), st.lists(CHANGES_TO_OTHERS, max_size=40))
def test_in_a_round_everybody_who_is_there_all_along_acts_once(values: list[int], changes: list[Any]) -> None:
    play = table()
    play.ok("gm", "initiative.set", {"entries": [{"id": f"e{at}", "name": "x", "value": v} for at, v in enumerate(values)]})
    play.ok("gm", "combat.start")

    def order() -> set[str]:
        return {turn.id for turn in play.state.combat.entries}

    there_all_along, acted = order(), [play.state.combat.current]
    for number, (change, *what) in enumerate(changes):
        combat = play.state.combat
        entries, had, round_ = combat.entries, combat.current, combat.round
        if change == "next":
            play.ok("gm", "initiative.next")
        elif change == "add":
            play.ok("gm", "initiative.add", {"entry": {"id": f"new{number}", "name": "x", "value": what[0]}})
        elif what[0] < len(entries) and len(entries) > 1:
            entry = entries[what[0]]
            if change == "remove":
                play.ok("gm", "initiative.remove", {"id": entry.id})
            else:
                play.ok("gm", "initiative.add", {"entry": {"id": entry.id, "name": f"n{number}", "value": entry.value}})
        there_all_along &= order()
        combat = play.state.combat
        if combat.round != round_:
            assert combat.round == round_ + 1
            assert there_all_along <= set(acted)
            there_all_along, acted = order(), [combat.current]
        elif combat.current != had:
            acted.append(combat.current)
        assert len(set(acted)) == len(acted)
        assert change in ("next", "remove") or combat.current == had


PLACES = st.sampled_from(
    ["name", "level", "hp", "hp.max", "hp.current", "abilities.str", "notes", "notes.0.text", "level.x", "."]
)
INNER_PLACES = st.sampled_from(["inventory.0", "inventory.1.qty", "inventory.0.a", "inventory.0.a.b", "conditions.0.god"])
FREE_PLACES = st.sampled_from(["attributes.a", "attributes.a.b", "attributes.a.0", "x.y"])
PATHS = st.one_of(PLACES, INNER_PLACES, FREE_PLACES)
ITEM = st.fixed_dictionaries({"name": IDS}, optional={"a": ANY_DATA, "delta": TEXTS})
CHARACTER_OPS = st.one_of(
    op("hp.change", {"reason": TEXTS}, delta=st.integers(-30, 30)),
    op("hp.set", {"temp": st.integers(0, 9), "max": st.integers(0, 30)}, value=st.integers(0, 30)),
    op("xp.award", amount=st.integers(-50, 50)),
    op("item.add", {"qty": st.integers(1, 3), "a": ANY_DATA, "b": TEXTS, "delta": TEXTS}, name=IDS),
    op("item.remove", {"qty": st.integers(1, 3)}, name=IDS),
    op("condition.add", {"rounds": st.integers(0, 3)}, name=IDS),
    op("condition.remove", name=IDS),
    op("note.append", text=TEXTS),
    op("sheet.set", path=PATHS, value=ANY_DATA),
    op("sheet.set", path=PATHS, value=st.integers(0, 40)),
    op("sheet.set", path=st.just("hp"), value=st.fixed_dictionaries({"max": st.integers(0, 9)})),
    op("sheet.set", path=st.just("attributes"), value=st.dictionaries(IDS, ANY_DATA, max_size=3)),
    op("sheet.set", path=st.just("inventory"), value=st.lists(ITEM, max_size=3)),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(CHARACTER_OPS, max_size=30), st.sampled_from(["ann", None]))
def test_a_character_is_what_its_journal_says(ops: list[tuple[str, str, Any]], owner: str | None) -> None:
    play = character(owner, hp={"max": 20})
    for user, kind, args in ops:
        play.do(user, kind, args)
        assert check_sheet(play.state.sheet) == play.state.sheet
    play.holds_its_laws()


def refusal_of(play: Play[Any], kind: str, args: Any, seed: int) -> Code | None:
    asked = Op("again", kind, args, "gm", Role.GM)
    decision = play.rules.decide(play.state, asked, Context(play.now_ms, random.Random(seed)))
    return decision.failure.code if isinstance(decision, Refused) else None


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(SESSION_OPS, CHARACTER_OPS), max_size=30), st.integers(0, 2**32))
def test_bad_arguments_are_bad_whatever_the_state_the_dice_and_the_time(ops: list[tuple[str, str, Any]], seed: int) -> None:
    played: list[Play[Any]] = [table(seed), character("ann", hp={"max": 20})]
    fresh: list[Play[Any]] = [table(), character("ann", inventory=[{"name": "a"}])]
    for user, kind, args in ops:
        if kind == "reply":
            continue
        for play, other in zip(played, fresh, strict=True):
            decision = play.do(user, kind, args)
            if isinstance(decision, Refused) and decision.failure.code is Code.BAD_ARGS:
                assert refusal_of(other, kind, args, seed + 1) is Code.BAD_ARGS


@settings(max_examples=200, deadline=None)
@given(st.lists(CHARACTER_OPS, max_size=30), st.sampled_from(["ann", None]))
def test_a_viewer_is_told_only_of_parts_of_a_sheet_that_the_snapshot_shows_them(
    ops: list[tuple[str, str, Any]], owner: str | None
) -> None:
    parts = {"hp.changed": "hp", "xp.changed": "xp", "inventory.changed": "inventory", "conditions.changed": "conditions"}
    play = character(owner)
    for user, kind, args in ops:
        play.do(user, kind, args)
    for user in ROLES:
        shown = play.sees(user)["sheet"]
        for kind, data in play.told(user):
            part = data["path"].split(".")[0] if kind == "sheet.changed" else parts.get(kind, "name")
            assert part in shown


@settings(max_examples=50, deadline=None)
@given(st.lists(TEXTS, max_size=10), st.integers(0, 2**32))
def test_a_provider_is_what_its_journal_says(prompts: list[str], seed: int) -> None:
    play = Play(ProviderRules(), "oracle", {}, seed)
    answered = sum(isinstance(play.do("@session:t1", "ask", {"prompt": prompt}), Accepted) for prompt in prompts)
    assert play.state.answered == answered
    play.holds_its_laws()
