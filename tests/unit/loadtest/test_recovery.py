"""How long a death was felt."""

from tests.unit.loadtest.histories import TABLE, history
from undying.loadtest.recovery import Killed, recovery


def test_a_gap_ends_with_the_first_acknowledgement_of_an_op_sent_after_the_kill() -> None:
    acks = [ack for each in history() for ack in each.acks]
    acks.sort(key=lambda ack: ack.acked_s)
    felt = recovery(Killed(TABLE, 2.5, 2.52), acks)  # the turn of 2.1 was under way and acknowledged at 2.9
    assert (felt.noticed_ms, felt.live_ms) == (20.0, 1_400.0)


def test_with_no_op_sent_after_it_a_gap_ends_with_what_was_under_way() -> None:
    acks = sorted((ack for each in history() for ack in each.acks), key=lambda ack: ack.acked_s)
    assert recovery(Killed(TABLE, 5.5), acks).live_ms == 400.0


def test_a_gap_of_an_entity_does_not_end_with_what_another_one_acknowledged() -> None:
    acks = sorted((ack for each in history() for ack in each.acks), key=lambda ack: ack.acked_s)
    assert recovery(Killed("character:c", 2.5), acks).live_ms is None
    assert recovery(Killed("gateway:1", 2.5), acks).live_ms == 1_400.0
