"""The judge finds what was lost, repeated and out of order, and nothing in a history that is well."""

import copy

from undying.cli.demo.history import Ack, Fact, Notes, Seen
from undying.cli.demo.verdict import Killed, judge, recovery
from undying.protocol.position import Position

TABLE = "session:table"
CLIENTS = ("ann", "bob", "cat")


def _fact(number: int) -> Fact:
    return Fact(TABLE, "chat.said", CLIENTS[number % len(CLIENTS)], f"line {number}")


def _history(turns: int = 6) -> list[Notes]:
    """Turns one after the other, each 1 s long, every one at the next position, heard by all."""
    notes = [Notes(client, user) for client, user in enumerate(CLIENTS)]
    for number in range(turns):
        fact, position = _fact(number), Position(1, number + 1)
        teller = notes[number % len(CLIENTS)]
        teller.asked[f"op{number}"] = (fact, number + 0.1)
        teller.acks.append(Ack(teller.client, fact, position, number + 0.1, number + 0.9))
        for each in notes:
            each.seen.append(Seen(fact, position))
    return notes


def _counts(notes: list[Notes], turns: int = 6) -> tuple[int, int, int, int]:
    judged = judge(notes, turns, 0, [])
    return judged.acked, judged.lost, judged.repeated, judged.out_of_order


def test_a_history_that_is_well_is_clean() -> None:
    assert _counts(_history()) == (6, 0, 0, 0)
    assert judge(_history(), 6, 0, []).clean


def test_an_acknowledged_op_that_one_client_never_heard_of_is_lost_once() -> None:
    notes = _history()
    del notes[1].seen[2], notes[2].seen[2]
    assert _counts(notes) == (6, 1, 0, 0)


def test_an_event_that_says_something_else_than_the_op_is_a_loss() -> None:
    notes = _history()
    for each in notes:
        each.seen[2] = Seen(_fact(2)._replace(mark="other words"), Position(1, 3))
    judged = judge(notes, 6, 0, [])
    assert (judged.lost, judged.repeated) == (1, 1)  # what nobody asked for was done, too


def test_an_event_that_a_client_heard_twice_is_repeated() -> None:
    notes = _history()
    notes[2].seen.insert(4, notes[2].seen[3])
    assert _counts(notes) == (6, 0, 1, 0)


def test_an_op_that_was_done_twice_is_repeated() -> None:
    notes = _history()
    for each in notes:
        each.seen.append(Seen(_fact(5), Position(2, 1)))
    assert _counts(notes) == (6, 0, 1, 0)


def test_the_same_words_said_twice_are_two_ops() -> None:
    notes = _history(6)
    again, position = _fact(5), Position(1, 7)
    notes[2].asked["op6"] = (again, 6.1)
    notes[2].acks.append(Ack(2, again, position, 6.1, 6.9))
    for each in notes:
        each.seen.append(Seen(again, position))
    assert _counts(notes, 7) == (7, 0, 0, 0)


def test_an_op_without_an_answer_that_was_done_is_no_fault_but_a_turn_is_missing() -> None:
    notes = _history()
    notes[2].acks.pop()
    judged = judge(notes, 6, 0, [])
    assert (judged.acked, judged.lost, judged.repeated, judged.out_of_order) == (5, 0, 0, 0)
    assert not judged.clean


def test_a_turn_that_stands_before_one_that_was_acknowledged_earlier_is_out_of_order() -> None:
    notes = _history()
    for each in notes:
        each.seen[2], each.seen[3] = Seen(_fact(3), Position(1, 3)), Seen(_fact(2), Position(1, 4))
        each.acks = [
            ack._replace(position=Position(1, {3: 4, 4: 3}.get(ack.position.seq, ack.position.seq))) for ack in each.acks
        ]
    assert _counts(notes) == (6, 0, 0, 1)


def test_ops_that_were_under_way_at_the_same_time_may_stand_in_either_order() -> None:
    notes = _history()
    for each in notes:
        each.seen[2], each.seen[3] = Seen(_fact(3), Position(1, 3)), Seen(_fact(2), Position(1, 4))
        swapped = {3: 4, 4: 3}
        each.acks = [
            ack._replace(sent_s=2.1, acked_s=3.9, position=Position(1, swapped[ack.position.seq]))
            if ack.position.seq in swapped
            else ack
            for ack in each.acks
        ]
    assert _counts(notes) == (6, 0, 0, 0)


def test_a_client_that_hears_positions_backwards_is_out_of_order() -> None:
    notes = _history()
    notes[1].seen[2], notes[1].seen[3] = notes[1].seen[3], notes[1].seen[2]
    assert _counts(notes) == (6, 0, 0, 1)


def test_clients_that_are_told_different_things_at_one_position_are_out_of_order() -> None:
    notes = _history()
    notes[1].seen[4] = Seen(_fact(4)._replace(mark="whispers"), Position(1, 5))
    assert judge(notes, 6, 0, []).out_of_order == 1


def test_blows_are_judged_by_who_dealt_them_for_others_see_a_part_of_them() -> None:
    notes = _history()
    blow, position = Fact("character:c", "hp.changed", "ann", "beside"), Position(1, 1)
    notes[0].asked["blow"] = (blow, 2.0)
    notes[0].acks.append(Ack(0, blow, position, 2.0, 2.5))
    notes[0].seen.append(Seen(blow, position))
    notes[1].seen.append(Seen(blow._replace(mark=""), position))
    judged = judge(notes, 6, 1, [])
    assert (judged.acked, judged.other_acked, judged.clean) == (6, 1, True)
    without = copy.deepcopy(notes)
    without[0].seen.pop()
    assert judge(without, 6, 1, []).lost == 1


def test_a_gap_ends_with_the_first_acknowledgement_of_an_op_sent_after_the_kill() -> None:
    acks = [ack for each in _history() for ack in each.acks]
    acks.sort(key=lambda ack: ack.acked_s)
    felt = recovery(Killed(TABLE, 2.5, 2.52), acks)  # the turn of 2.1 was under way and acknowledged at 2.9
    assert (felt.noticed_ms, felt.live_ms) == (20.0, 1_400.0)


def test_with_no_op_sent_after_it_a_gap_ends_with_what_was_under_way() -> None:
    acks = sorted((ack for each in _history() for ack in each.acks), key=lambda ack: ack.acked_s)
    assert recovery(Killed(TABLE, 5.5), acks).live_ms == 400.0


def test_a_gap_of_an_entity_does_not_end_with_what_another_one_acknowledged() -> None:
    acks = sorted((ack for each in _history() for ack in each.acks), key=lambda ack: ack.acked_s)
    assert recovery(Killed("character:c", 2.5), acks).live_ms is None
    assert recovery(Killed("gateway:1", 2.5), acks).live_ms == 1_400.0


def test_the_document_has_the_counts_the_kills_and_the_median_and_worst_gap() -> None:
    document = judge(_history(), 6, 0, [Killed(TABLE, 1.5), Killed("gateway:1", 2.5, 2.6)]).to_json()
    assert [document[key] for key in ("acked", "lost", "repeated", "out_of_order")] == [6, 0, 0, 0]
    assert document["kills"] == [
        {"id": TABLE, "noticed_ms": None, "live_ms": 1_400.0},
        {"id": "gateway:1", "noticed_ms": 100.0, "live_ms": 1_400.0},
    ]
    assert document["gap_ms"] == {"median": 1_400.0, "worst": 1_400.0}
