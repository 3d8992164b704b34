"""Bad input: each is told what is wrong and where, and changes nothing."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests.unit.rules.tables import character, table
from undying.protocol.errors import Code
from undying.protocol.fields import Args
from undying.protocol.ids import Kind
from undying.protocol.ops import OPS, parse_args
from undying.protocol.session_ops import Say

DEEP: Any = {}
for _ in range(9):
    DEEP = {"deeper": DEEP}

BAD_SESSION_ARGS = [
    ("chat.say", {}, "text"),
    ("chat.say", {"text": 7}, "text"),
    ("chat.say", {"text": ""}, "text"),
    ("chat.say", {"text": "x" * 10_001}, "text"),
    ("chat.say", {"text": "\ud800"}, "text"),
    ("chat.say", {"text": "hi", "mode": "shout"}, "mode"),
    ("chat.say", {"text": "hi", "to": "ann"}, "to"),
    ("chat.say", {"text": "hi", "to": ["no such id!"]}, "to"),
    ("chat.say", {"text": "hi", "to": ["u"] * 65}, "to"),
    ("chat.say", {"text": "hi", "to": []}, "to"),
    ("chat.say", [], ""),
    ("chat.say", None, ""),
    ("chat.say", "hi", ""),
    ("chat.say", {1: 2}, "text"),
    ("dice.roll", {"expr": "d" * 201}, "expr"),
    ("dice.roll", {"expr": "no dice"}, "expr"),
    ("dice.roll", {"expr": "1/0"}, "expr"),
    ("dice.roll", {"expr": "999999999d6"}, "expr"),
    ("dice.roll", {"expr": "1d6", "mode": "secret"}, "mode"),
    ("initiative.set", {"entries": [{"id": "a", "name": "", "value": 1}]}, "entries.0.name"),
    ("initiative.set", {"entries": [{"id": "a", "name": "a", "value": math.nan}]}, "entries.0.value"),
    ("initiative.set", {"entries": [{"id": "a", "name": "a", "value": math.inf}]}, "entries.0.value"),
    ("initiative.set", {"entries": [{"id": "a", "name": "a", "value": True}]}, "entries.0.value"),
    ("initiative.set", {"entries": [{"id": "a", "name": "a", "value": 2**60}]}, "entries.0.value"),
    ("initiative.set", {"entries": [{"id": "a", "name": "a", "value": 1}] * 2}, "entries"),
    ("initiative.set", {"entries": [{"id": f"e{n}", "name": "a", "value": 1} for n in range(101)]}, "entries"),
    ("initiative.add", {"entry": {"id": "a b", "name": "a", "value": 1}}, "entry.id"),
    ("note.put", {"id": "n", "text": "x", "visibility": "friends"}, "visibility"),
    ("note.put", {"id": "n", "text": "x", "visibility": {"ann": True}}, "visibility"),
    ("note.append", {"id": "n", "text": ""}, "text"),
    ("map.set", {"scene": "s", "grid": DEEP}, "grid"),
    ("map.set", {"scene": "s", "grid": {"k": "x" * 20_000}}, "grid"),
    ("map.set", {"scene": "s", "grid": {"k": [0] * 3_000}}, "grid"),
    ("map.set", {"scene": "s", "grid": {"k": b"bytes"}}, "grid"),
    ("map.set", {"scene": "s", "grid": {7: "x"}}, "grid"),
    ("map.set", {"scene": "s", "grid": {"k": 2**53 + 1}}, "grid"),
    ("token.put", {"id": "t", "x": "1", "y": 2}, "x"),
    ("token.put", {"id": "t", "x": 1, "y": 2, "size": []}, "size"),
    ("token.put", {"id": "t", "x": 1, "y": 2, "size": "x" * 33}, "size"),
    ("token.put", {"id": "t", "x": 1, "y": 2, "story": "x" * 2_048}, ""),
    ("token.put", {"id": "t", "x": 1, "y": 2, "aura": DEEP}, ""),
    ("token.put", {"id": "t", "x": 1, "y": 2, "k" * 201: 1}, ""),
    ("token.move", {"id": "t", "x": 1, "y": -math.inf}, "y"),
    ("character.create", {"sheet": {}}, "sheet.name"),
    ("character.create", {"sheet": {"name": "K", "hp": {"current": 9, "max": 5}}}, "sheet.hp"),
    ("character.create", {"sheet": {"name": "K", "hp": {"max": 2.5}}}, "sheet.hp.max"),
    ("character.create", {"sheet": {"name": "K", "inventory": [{"name": "rope", "qty": -1}]}}, "sheet.inventory.0.qty"),
    ("character.create", {"sheet": {"name": "K", "abilities": {"k" * 900: 1}}}, "sheet.abilities." + "k" * 183 + "…"),
    ("character.create", {"sheet": {"name": "K", "attributes": {"x": math.nan}}}, "sheet.attributes"),
    ("character.create", {"sheet": {"name": "K", "inventory": [{"name": "rope", "feet": math.nan}]}}, "sheet.inventory.0"),
    ("member.set_role", {"user": "ann", "role": "system"}, "role"),
    ("ai.ask", {"prompt": "x" * 4_001}, "prompt"),
]


@pytest.mark.parametrize(("kind", "args", "path"), BAD_SESSION_ARGS)
def test_bad_arguments_of_a_session_are_named_by_their_path(kind: str, args: Any, path: str) -> None:
    failure = table().refused("gm", kind, args)
    assert (failure.code, failure.context["path"]) == (Code.BAD_ARGS, path)
    assert failure.context["reason"]


BAD_CHARACTER_ARGS = [
    ("hp.change", {"delta": 1.5}, "delta"),
    ("hp.change", {"delta": 2**54}, "delta"),
    ("hp.change", {"delta": True}, "delta"),
    ("hp.set", {"value": -1}, "value"),
    ("hp.set", {"value": 30, "max": 20}, "value"),
    ("xp.award", {}, "amount"),
    ("item.add", {"name": "rope", "qty": 0}, "qty"),
    ("item.add", {"name": "rope", "k" * 201: 1}, ""),
    ("item.add", {"name": "rope", "story": "x" * 20_000}, ""),
    ("condition.add", {"name": "x" * 201}, "name"),
    ("note.append", {"text": " "}, "text"),
    ("sheet.set", {"path": "level", "value": "high"}, "value"),
    ("sheet.set", {"path": "", "value": 1}, "path"),
    ("sheet.set", {"path": "nonsense", "value": 1}, "path"),
    ("sheet.set", {"path": "inventory.first.qty", "value": 1}, "path"),
    ("sheet.set", {"path": "conditions.0.god", "value": 1}, "path"),
    ("sheet.set", {"path": "hp.god", "value": 1}, "path"),
    ("sheet.set", {"path": "inventory.0.qty.deeper", "value": 1}, "path"),
    ("sheet.set", {"path": "a.b.c.d.e.f.g.h.i", "value": 1}, "path"),
    ("sheet.set", {"path": "level.deeper", "value": 1}, "path"),
    ("sheet.set", {"path": "inventory", "value": [{"name": "rope", "qty": 0}]}, "value.0.qty"),
    ("sheet.set", {"path": "hp", "value": {"current": 9, "max": 1}}, "value"),
    ("sheet.set", {"path": "hp.max", "value": -1}, "value"),
    ("sheet.set", {"path": "conditions.3", "value": {"rounds": 2}}, "value.name"),
    ("sheet.set", {"path": "notes.0.text", "value": "x" * 2_001}, "value"),
    ("sheet.set", {"path": "attributes", "value": 7}, "value"),
    ("sheet.set", {"path": "attributes.a.b.c.d.e", "value": {"f": {"g": 1}}}, "value"),
    ("sheet.set", {"path": "inventory.0.a.b.c.d.e", "value": {"f": {"g": 1}}}, "value"),
]


@pytest.mark.parametrize(("kind", "args", "path"), BAD_CHARACTER_ARGS)
def test_bad_arguments_of_a_character_are_named_by_their_path(kind: str, args: Any, path: str) -> None:
    failure = character(hp={"max": 20}).refused("gm", kind, args)
    assert (failure.code, failure.context["path"]) == (Code.BAD_ARGS, path)


@pytest.mark.parametrize("kind", ["chat.shout", "", "hp.change", "x" * 5_000, "\ud800"])
def test_an_op_that_does_not_exist_is_named_and_cut_short(kind: str) -> None:
    failure = table().refused("gm", kind, {})
    assert failure.code is Code.BAD_OP
    named = failure.context["op"]
    assert isinstance(named, str)
    assert len(named.encode()) <= 70


@pytest.mark.parametrize("kind", ["session.create", "member.join", "@replied"])
def test_ops_of_the_server_do_not_exist_for_a_client(kind: str) -> None:
    assert table().code("gm", kind, {"user": "eve", "name": "Eve", "role": "gm", "issued": 1}) is Code.BAD_OP


def test_a_refusal_never_repeats_what_was_sent() -> None:
    failure = table().refused("gm", "chat.say", {"text": "hi", "mode": "my-password"})
    assert "my-password" not in str(failure.to_wire())


def test_lists_may_come_as_tuples_and_leave_as_lists() -> None:
    args = parse_args(Kind.SESSION, "chat.say", {"text": "hi", "to": ("bob", "ann", "bob")})
    assert isinstance(args, Say)
    assert args.to == ["ann", "bob"]


def test_free_data_is_copied_and_keeps_its_values() -> None:
    grid = {"size": 5, "on": True, "names": ("é", None), "scale": 1.5}
    args: Any = parse_args(Kind.SESSION, "map.set", {"scene": "s", "grid": grid})
    assert args.grid == {"size": 5, "on": True, "names": ["é", None], "scale": 1.5}


@pytest.mark.parametrize("spec", OPS.values(), ids=lambda spec: f"{spec.stream}/{spec.kind}")
def test_every_op_in_the_table_can_be_parsed_and_ignores_what_it_does_not_know(spec: Any) -> None:
    outcome = parse_args(spec.stream, spec.kind, {"surely-not-an-argument": 1})
    assert outcome == parse_args(spec.stream, spec.kind, {})
    assert issubclass(spec.args, Args)
    assert spec.meaning.endswith(".")
