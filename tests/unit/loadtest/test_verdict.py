"""The judge finds what was lost, repeated and out of order, and nothing in a history that is well."""

from tests.unit.loadtest.histories import fact_of, history
from undying.loadtest.history import ANSWERED, FAILED, Ack, Answer, Fact, Notes, Seen
from undying.loadtest.verdict import check
from undying.protocol.position import Position


def _counts(notes: list[Notes]) -> tuple[int, int, int, int]:
    found = check(notes)
    return found.acked, len(found.lost), len(found.repeated), len(found.out_of_order)


def _questions() -> list[Notes]:
    """Two clients that saw a question asked and answered."""
    return [Notes(client, questions={"q1": "Who?"}, answers=[Answer("q1", ANSWERED)]) for client in range(2)]


def test_a_history_that_is_well_is_clean() -> None:
    assert _counts(history()) == (6, 0, 0, 0)
    assert check(history()).clean


def test_an_acknowledged_op_that_one_client_never_heard_of_is_lost_once() -> None:
    notes = history()
    del notes[1].seen[2], notes[2].seen[2]
    assert _counts(notes) == (6, 1, 0, 0)


def test_an_event_that_says_something_else_than_the_op_is_a_loss() -> None:
    notes = history()
    for each in notes:
        each.seen[2] = Seen(fact_of(2)._replace(mark="other words"), Position(1, 3))
    found = check(notes)
    assert (len(found.lost), len(found.repeated)) == (1, 1)  # what nobody asked for was done, too


def test_an_event_that_a_client_heard_twice_is_repeated() -> None:
    notes = history()
    notes[2].seen.insert(4, notes[2].seen[3])
    assert _counts(notes) == (6, 0, 1, 0)


def test_an_op_that_was_done_twice_is_repeated() -> None:
    notes = history()
    for each in notes:
        each.seen.append(Seen(fact_of(5), Position(2, 1)))
    assert _counts(notes) == (6, 0, 1, 0)


def test_the_same_words_said_twice_are_two_ops() -> None:
    notes = history(6)
    again, position = fact_of(5), Position(1, 7)
    notes[2].asked["op6"] = (again, 6.1)
    notes[2].acks.append(Ack(2, again, position, 6.1, 6.9))
    for each in notes:
        each.seen.append(Seen(again, position))
    assert _counts(notes) == (7, 0, 0, 0)


def test_an_op_without_an_answer_that_was_done_is_no_fault() -> None:
    notes = history()
    notes[2].acks.pop()
    assert _counts(notes) == (5, 0, 0, 0)


def test_a_turn_that_stands_before_one_that_was_acknowledged_earlier_is_out_of_order() -> None:
    notes = history()
    for each in notes:
        each.seen[2], each.seen[3] = Seen(fact_of(3), Position(1, 3)), Seen(fact_of(2), Position(1, 4))
        each.acks = [
            ack._replace(position=Position(1, {3: 4, 4: 3}.get(ack.position.seq, ack.position.seq))) for ack in each.acks
        ]
    assert _counts(notes) == (6, 0, 0, 1)


def test_ops_that_were_under_way_at_the_same_time_may_stand_in_either_order() -> None:
    notes = history()
    for each in notes:
        each.seen[2], each.seen[3] = Seen(fact_of(3), Position(1, 3)), Seen(fact_of(2), Position(1, 4))
        swapped = {3: 4, 4: 3}
        each.acks = [
            ack._replace(sent_s=2.1, acked_s=3.9, position=Position(1, swapped[ack.position.seq]))
            if ack.position.seq in swapped
            else ack
            for ack in each.acks
        ]
    assert _counts(notes) == (6, 0, 0, 0)


def test_a_client_that_hears_positions_backwards_is_out_of_order() -> None:
    notes = history()
    notes[1].seen[2], notes[1].seen[3] = notes[1].seen[3], notes[1].seen[2]
    assert _counts(notes) == (6, 0, 0, 1)


def test_clients_that_are_told_different_things_at_one_position_are_out_of_order() -> None:
    notes = history()
    notes[1].seen[4] = Seen(fact_of(4)._replace(mark="whispers"), Position(1, 5))
    assert len(check(notes).out_of_order) == 1


def test_blows_are_judged_by_who_dealt_them_for_others_see_a_part_of_them() -> None:
    notes = history()
    blow, position = Fact("character:c", "hp.changed", "ann", "beside"), Position(1, 1)
    notes[0].asked["blow"] = (blow, 2.0)
    notes[0].acks.append(Ack(0, blow, position, 2.0, 2.5))
    notes[0].seen.append(Seen(blow, position))
    notes[1].seen.append(Seen(blow._replace(mark=""), position))
    assert _counts(notes) == (7, 0, 0, 0)
    notes[0].seen.pop()
    assert _counts(notes) == (7, 1, 0, 0)


def test_a_question_that_is_answered_once_for_everybody_is_well() -> None:
    assert _counts(_questions()) == (0, 0, 0, 0)


def test_a_question_without_an_answer_is_lost_once() -> None:
    notes = _questions()
    for each in notes:
        each.answers.clear()
    assert check(notes).lost == ("lost: the answer to 'Who?' at client 0, 1",)


def test_a_question_that_was_answered_with_a_failure_is_lost() -> None:
    notes = _questions()
    notes[0].answers[0] = Answer("q1", FAILED)
    assert _counts(notes) == (0, 1, 0, 0)


def test_a_question_that_was_answered_twice_is_repeated() -> None:
    notes = _questions()
    notes[1].answers.append(Answer("q1", ANSWERED))
    assert check(notes).repeated == ("repeated: the answer to 'Who?' at client 1",)
