"""The demo's verdict: what the judge found, and how much of the play there was."""

from tests.unit.loadtest.histories import TABLE, history
from undying.cli.demo.verdict import judge
from undying.loadtest.history import Ack, Fact, Seen
from undying.loadtest.recovery import Killed
from undying.protocol.position import Position


def test_a_turn_without_an_answer_that_was_done_is_no_fault_but_the_demo_is_not_clean() -> None:
    notes = history()
    notes[2].acks.pop()
    judged = judge(notes, 6, 0, [])
    assert (judged.acked, judged.lost, judged.repeated, judged.out_of_order) == (5, 0, 0, 0)
    assert not judged.clean


def test_what_is_done_beside_the_play_is_judged_and_counted_apart() -> None:
    notes = history()
    blow, position = Fact("character:c", "hp.changed", "ann", "beside"), Position(1, 1)
    notes[0].asked["blow"] = (blow, 2.0)
    notes[0].acks.append(Ack(0, blow, position, 2.0, 2.5))
    notes[0].seen.append(Seen(blow, position))
    judged = judge(notes, 6, 1, [])
    assert (judged.acked, judged.other_acked, judged.clean) == (6, 1, True)


def test_the_document_has_the_counts_the_kills_and_the_median_and_worst_gap() -> None:
    document = judge(history(), 6, 0, [Killed(TABLE, 1.5), Killed("gateway:1", 2.5, 2.6)]).to_json()
    assert [document[key] for key in ("acked", "lost", "repeated", "out_of_order")] == [6, 0, 0, 0]
    assert document["kills"] == [
        {"id": TABLE, "noticed_ms": None, "live_ms": 1_400.0},
        {"id": "gateway:1", "noticed_ms": 100.0, "live_ms": 1_400.0},
    ]
    assert document["gap_ms"] == {"median": 1_400.0, "worst": 1_400.0}
