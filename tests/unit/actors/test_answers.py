"""The bounded memory of answers."""

from __future__ import annotations

import msgpack
import pytest

from actors.answers import Answer, Answers, pack_records
from undying.protocol.position import Position


def test_the_oldest_answer_of_a_user_is_forgotten_first() -> None:
    answers = Answers(per_user=2)
    for op_id in "abc":
        answers.put("ann", op_id, Answer())
    assert [answers.get("ann", op_id) is not None for op_id in "abc"] == [False, True, True]


def test_the_user_who_did_nothing_for_the_longest_is_forgotten_first() -> None:
    answers = Answers(users=2)
    for user in ("ann", "bob", "ann", "cid"):
        answers.put(user, "x", Answer())
    assert [answers.get(user, "x") is not None for user in ("ann", "bob", "cid")] == [True, False, True]


def test_an_answer_that_is_still_to_come_is_not_forgotten() -> None:
    answers = Answers(per_user=1, users=1)
    answers.put("ann", "p", Answer(pending=True))
    for number in range(5):
        answers.put("ann", str(number), Answer())
        answers.put(f"user{number}", "x", Answer())
    assert answers.get("ann", "p") == Answer(pending=True)


def test_the_answer_just_given_is_remembered_though_all_others_are_still_to_come() -> None:
    answers = Answers(per_user=1, users=1)
    answers.put("ann", "p", Answer(pending=True))
    answers.put("ann", "new", Answer())
    answers.put("bob", "new", Answer())
    assert answers.get("ann", "new") is not None
    assert answers.get("bob", "new") is not None


def test_the_answer_that_came_takes_the_place_of_the_one_to_come() -> None:
    answers = Answers()
    answers.put("ann", "p", Answer(Position(1, 1), pending=True))
    answers.put("ann", "p", Answer(Position(1, 2), {"ok": 1}))
    assert answers.get("ann", "p") == Answer(Position(1, 2), {"ok": 1})


def test_an_answer_that_was_long_in_coming_is_as_new_as_any_other() -> None:
    answers = Answers(per_user=2)
    answers.put("ann", "saga", Answer(pending=True))
    answers.put("ann", "x", Answer())
    answers.put("ann", "saga", Answer(Position(1, 2), {"ok": 1}))
    answers.put("ann", "y", Answer())
    assert answers.get("ann", "saga") == Answer(Position(1, 2), {"ok": 1})
    assert answers.get("ann", "x") is None


def test_answers_outlive_storage() -> None:
    answers, again = Answers(), Answers()
    answers.put("ann", "a", Answer(Position(1, 2), {"n": [1]}))
    answers.put("bob", "b", Answer(error={"code": "PAUSED"}))
    answers.put("bob", "p", Answer(Position(1, 3), pending=True))
    again.restore(pack_records(answers.records()))
    assert again.records() == answers.records()
    assert again.get("bob", "b") == Answer(error={"code": "PAUSED"})


def test_no_answers_are_no_bytes() -> None:
    answers = Answers()
    answers.restore(pack_records([]))
    assert (pack_records([]), answers.records()) == (b"", [])


@pytest.mark.parametrize("damaged", [b"\x91", b"\x91\x93abc", b"\xc1", b"\x91\x97\x90\x90\x00\x00\x00\x00\x00"])
def test_bytes_that_are_no_answers_are_refused(damaged: bytes) -> None:
    with pytest.raises((ValueError, TypeError, msgpack.UnpackException)):
        Answers().restore(damaged)
