"""Every method that asks for something asks for an op that the protocol knows, with arguments that it takes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from undying.client.asking import CharacterHandle, Combat, Initiative, Map, Members, Notes, RollResult, Session
from undying.client.state import TableState
from undying.protocol.data import Json, JsonObject
from undying.protocol.errors import Failure
from undying.protocol.ids import split_stream
from undying.protocol.ops import parse_args


class Recorder:
    """A table that writes down what it is asked."""

    def __init__(self) -> None:
        self.state = TableState()
        self.asked: list[tuple[str, str, JsonObject]] = []

    @property
    def stream(self) -> str:
        return "session:t"

    async def op(self, stream: str, kind: str, /, **args: Json) -> JsonObject:
        self.asked.append((stream, kind, args))
        return {}


ASKING: list[tuple[str, Callable[[Recorder], Awaitable[object]]]] = [
    ("combat.start", lambda table: Combat(table).start()),
    ("combat.end", lambda table: Combat(table).end()),
    ("initiative.set", lambda table: Initiative(table).set([{"id": "a", "name": "A", "value": 12}])),
    ("initiative.add", lambda table: Initiative(table).add("a", "A", 12.5)),
    ("initiative.add", lambda table: Initiative(table).add("a", "A", 12, character="c", hidden=True)),
    ("initiative.remove", lambda table: Initiative(table).remove("a")),
    ("initiative.next", lambda table: Initiative(table).next()),
    ("initiative.prev", lambda table: Initiative(table).prev()),
    ("note.put", lambda table: Notes(table).put("n", "text")),
    ("note.put", lambda table: Notes(table).put("n", "text", title="Title", visibility=["u"])),
    ("note.append", lambda table: Notes(table).append("n", "text")),
    ("note.delete", lambda table: Notes(table).delete("n")),
    ("map.set", lambda table: Map(table).set("crypt", grid={"size": 5})),
    ("token.put", lambda table: Map(table).put("k", 1, 2.5, name="Krusk", hidden=True)),
    ("token.move", lambda table: Map(table).move("k", 1, 2)),
    ("token.remove", lambda table: Map(table).remove("k")),
    ("member.set_role", lambda table: Members(table).set_role("u", "player")),
    ("member.remove", lambda table: Members(table).remove("u")),
    ("character.seat", lambda table: Members(table).seat("c")),
    ("character.unseat", lambda table: Members(table).unseat("c")),
    ("session.rename", lambda table: Session(table).rename("The Drowned Lantern")),
    ("session.pause", lambda table: Session(table).pause()),
    ("session.resume", lambda table: Session(table).resume()),
    ("hp.change", lambda table: CharacterHandle(table, "c").damage(7, "goblin")),
    ("hp.change", lambda table: CharacterHandle(table, "c").heal(3)),
    ("hp.set", lambda table: CharacterHandle(table, "c").set_hp(7, temp=2, max=20)),
    ("xp.award", lambda table: CharacterHandle(table, "c").award_xp(50)),
    ("item.add", lambda table: CharacterHandle(table, "c").add_item("rope")),
    ("item.remove", lambda table: CharacterHandle(table, "c").remove_item("rope", 2)),
    ("condition.add", lambda table: CharacterHandle(table, "c").add_condition("prone", rounds=1)),
    ("condition.remove", lambda table: CharacterHandle(table, "c").remove_condition("prone")),
    ("note.append", lambda table: CharacterHandle(table, "c").note("text")),
    ("sheet.set", lambda table: CharacterHandle(table, "c").set("level", 3)),
]


@pytest.mark.parametrize(("kind", "ask"), ASKING)
async def test_a_method_asks_for_its_op_with_arguments_that_the_protocol_takes(
    kind: str, ask: Callable[[Recorder], Awaitable[object]]
) -> None:
    table = Recorder()
    await ask(table)
    ((stream, asked, args),) = table.asked
    assert asked == kind
    assert not isinstance(parse_args(split_stream(stream)[0], asked, args), Failure)


async def test_damage_takes_points_and_healing_gives_them() -> None:
    table = Recorder()
    await CharacterHandle(table, "c").damage(7)
    await CharacterHandle(table, "c").heal(3)
    assert [args["delta"] for _, _, args in table.asked] == [-7, 3]


def test_a_blind_roll_has_no_total() -> None:
    assert RollResult.of({"expr": "1d20", "mode": "blind"}) == RollResult("1d20", None, None, "blind")
    assert RollResult.of({"expr": "1d20", "mode": "public", "total": 7, "detail": "7"}).total == 7
