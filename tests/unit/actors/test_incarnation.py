"""One life of an entity: staged, sealed, settled."""

from __future__ import annotations

import random
from typing import Any, ClassVar

import msgpack

from actors.answers import Answers
from actors.incarnation import TAIL_ENTRIES_MAX, WAITERS_MAX, Incarnation
from actors.rules import Context, Op
from persistence.store import Entry
from tests.stored_answers import unpack_records
from tests.unit.actors.toy import Toy, ToyRules
from undying.protocol.data import JsonObject
from undying.protocol.effects import ChangeRole, unpack_effects
from undying.protocol.events import Viewer
from undying.protocol.ids import Role
from undying.protocol.position import Position


class Asker(str):
    """Somebody at the gateway that their name begins with; `ended` lists those who were replaced."""

    ended: ClassVar[list[str]] = []

    @property
    def source(self) -> str:
        return self.partition("/")[0]

    def replaced(self) -> None:
        self.ended.append(self)


Life = Incarnation[Toy, Asker]
CONTEXT = Context(5, random.Random(0))


def life(*, created: bool = True) -> Life:
    rules = ToyRules()
    born: Life = Incarnation("session:t", rules, rules.initial("t"), Answers(), Position(3, 0))
    if created:
        take(born, "create", user="@admin")
        commit(born)
    return born


def take(into: Life, kind: str, op_id: str = "", to: str = "", user: str = "ann", **args: Any) -> None:
    into.take(Op(op_id or kind, kind, args, user, Role.PLAYER), CONTEXT, Asker(to or op_id or kind))


def commit(what: Life) -> Entry:
    entry = what.seal()
    what.settle(entry)
    return entry


def test_the_position_moves_only_when_the_entry_is_settled_and_by_its_events() -> None:
    one = life()
    take(one, "say", "a", text="a")
    take(one, "say", "b", text="b")
    entry = one.seal()
    assert (one.position, entry.first, entry.position) == ((3, 1), 2, (3, 3))
    one.settle(entry)
    assert one.position == (3, 3)


def test_replies_leave_only_with_settle_and_in_the_order_of_the_ops() -> None:
    one = life()
    take(one, "say", "a", text="a")
    take(one, "refuse", "b")
    take(one, "say", "a", "a again", text="a")
    entry = one.seal()
    replies = one.settle(entry)
    assert [(reply.to, reply.dup) for reply in replies] == [("a", False), ("b", False), ("a again", True)]
    assert one.settle(None) == []


def test_an_op_without_events_stages_nothing_and_its_answer_stands_at_the_position_reached() -> None:
    one = life()
    take(one, "nothing")
    assert not one.staged
    (reply,) = one.settle(None)
    assert reply.answer.position == (3, 1)


def test_a_restricted_event_makes_its_entry_restricted_and_the_next_one_is_public_again() -> None:
    one = life()
    take(one, "say", "a", text="a")
    take(one, "secret", "b", text="b")
    assert not commit(one).public
    take(one, "say", "c", text="c")
    assert commit(one).public


def test_only_the_creating_op_of_the_server_is_taken_before_there_is_an_entity() -> None:
    one = life(created=False)
    take(one, "say", text="a")
    (reply,) = one.settle(None)
    assert reply.answer.error is not None
    assert reply.answer.error["code"] == "NOT_FOUND"
    assert not one.staged


def test_an_answer_without_events_is_in_the_next_entry() -> None:
    one = life()
    take(one, "refuse", "r")
    one.settle(None)
    take(one, "say", "a", text="a")
    records = unpack_records(commit(one).answers)
    assert [record.op_id for record in records] == ["r", "a"]


def test_refusals_that_are_the_same_for_ever_and_those_that_may_be_tried_again_are_not_remembered() -> None:
    one = life()
    for kind in ("bad", "busy", "no such op"):
        take(one, kind)
    take(one, "say", "a", text="a")
    assert [record.op_id for record in unpack_records(commit(one).answers)] == ["a"]


def test_who_waits_for_an_answer_is_an_orphan_when_the_life_ends() -> None:
    one = life()
    take(one, "later", "l")
    commit(one)
    take(one, "say", "s", text="a")
    take(one, "later", "l", "l again")
    assert sorted(one.orphans()) == ["l", "l again", "s"]


def test_who_asks_again_for_an_answer_to_come_waits_in_the_place_of_the_first_and_is_told_of_a_retry() -> None:
    one = life()
    take(one, "later", "l", "g1/first")
    commit(one)
    for number in range(1_000):
        take(one, "later", "l", f"g1/{number}")
    take(one, "later", "l", "g2/only")
    assert one.orphans() == ["g1/999", "g2/only"]
    assert Asker.ended[-1000:] == ["g1/first", *(f"g1/{number}" for number in range(999))]
    one.take(Op("s", "settle", {"user": "ann", "id": "l"}, "ann", Role.PLAYER), CONTEXT, Asker("settle"))
    told = [(reply.to, reply.dup) for reply in one.settle(one.seal())]
    assert told == [("settle", False), ("g1/999", True), ("g2/only", True)]


def test_of_many_gateways_that_wait_for_one_answer_the_latest_are_kept() -> None:
    one = life()
    for number in range(WAITERS_MAX + 2):
        take(one, "later", "l", f"g{number}")
    commit(one)
    assert one.orphans() == [f"g{number}" for number in range(2, WAITERS_MAX + 2)]
    assert Asker.ended[-2:] == ["g0", "g1"]


def test_a_projection_is_made_once_per_class_of_viewers_and_anew_after_a_commit() -> None:
    one = life()
    ann, bob, gm = Viewer("ann", Role.PLAYER), Viewer("bob", Role.PLAYER), Viewer("gm", Role.GM)
    assert one.projection(ann) is one.projection(bob)
    assert one.projection(gm) != one.projection(ann)
    take(one, "say", "a", text="a")
    commit(one)
    assert msgpack.unpackb(one.projection(ann)) == {"lines": ["a"]}


def test_projections_are_kept_up_to_so_many_bytes_the_longest_unused_go_first_and_the_last_one_stays() -> None:
    one, made = life(), list[str]()

    def project(_: Toy, viewer: Viewer) -> JsonObject:
        made.append(viewer.user)
        return {"much": "x" * ((400 << 10) if len(made) < 5 else (2 << 20))}

    rules: Any = one.rules
    rules.viewer_class, rules.project = lambda _, viewer: viewer.user, project
    ann, bob, cid = (Viewer(user, Role.PLAYER) for user in ("ann", "bob", "cid"))
    for viewer in (ann, bob, ann, cid):
        one.projection(viewer)
    assert made == ["ann", "bob", "cid"]
    one.projection(ann)
    one.projection(cid)
    assert made == ["ann", "bob", "cid"]
    one.projection(bob)
    assert made == ["ann", "bob", "cid", "bob"]
    take(one, "say", "a", text="a")
    commit(one)
    for _ in range(3):
        one.projection(ann)
    assert made[4:] == ["ann"]


def test_the_tail_is_bounded_and_what_left_it_can_not_be_told() -> None:
    one = life()
    for number in range(TAIL_ENTRIES_MAX + 5):
        take(one, "say", f"s{number}", text="a")
        commit(one)
    assert len(one.tail) == TAIL_ENTRIES_MAX
    assert one.since(one.tail_from) == list(one.tail)
    assert one.since(Position(3, one.tail_from.seq - 1)) is None


def test_the_tail_is_bounded_in_bytes_but_always_holds_the_last_entry() -> None:
    one = life()
    for number in range(3):
        take(one, "say", f"s{number}", text="x" * (2 << 20))
        commit(one)
    assert [entry.position for entry in one.tail] == [(3, 4)]


def test_effects_travel_with_the_entry_of_their_events() -> None:
    one = life()
    one.take(Op("r", "role", {"user": "ann", "role": "gm"}, "gm", Role.GM), CONTEXT, Asker("r"))
    assert unpack_effects(commit(one).effects) == [ChangeRole("role", "ann", "gm")]
    take(one, "say", "a", text="a")
    assert commit(one).effects == b""
