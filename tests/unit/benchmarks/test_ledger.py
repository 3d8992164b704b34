from benchmarks.ledger import Delivered, Ledger

TABLE = 0


def _played(*answers: str | None) -> Ledger:
    """A rung of one table with two clients whose ops 100, 101 … got these answers (None: accepted)."""
    ledger = Ledger(100, [TABLE] * len(answers), seats=2)
    for at, code in enumerate(answers):
        ledger.answer(100 + at, 1.0, code)
    return ledger


def _deliver(ledger: Ledger, seat: int, *numbers: int) -> None:
    seen = ledger.seen[TABLE, seat]
    for number in numbers:
        seen.frames.append((2.0, Delivered(1, number, number, (number,))))
        seen.ops += 1


def test_a_rung_where_everybody_got_everything_once_is_right() -> None:
    ledger = _played(None, None)
    for seat in (0, 1):
        assert not ledger.settled
        _deliver(ledger, seat, 101, 100)
    assert ledger.settled
    assert not ledger.check()


def test_an_accepted_op_that_one_client_did_not_get_is_lost() -> None:
    ledger = _played(None, None)
    _deliver(ledger, 0, 100, 101)
    _deliver(ledger, 1, 100)
    assert not ledger.settled
    assert ledger.check()["delivery lost"] == 1


def test_an_event_that_comes_twice_is_repeated() -> None:
    ledger = _played(None)
    _deliver(ledger, 0, 100, 100)
    _deliver(ledger, 1, 100)
    assert ledger.check()["delivery repeated"] == 1


def test_clients_that_saw_different_orders_are_noticed() -> None:
    ledger = _played(None, None)
    _deliver(ledger, 0, 100, 101)
    _deliver(ledger, 1, 101, 100)
    assert ledger.check() == {"tables with different orders": 1}


def test_a_refused_op_must_not_happen_unless_its_answer_said_that_it_may_have() -> None:
    ledger = _played("OVERLOADED", "UNAVAILABLE")
    assert ledger.settled
    for seat in (0, 1):
        _deliver(ledger, seat, 101)
    assert not ledger.check()
    for seat in (0, 1):
        _deliver(ledger, seat, 100)
    assert ledger.check() == {"event of an op that was refused": 2}


def test_an_op_has_one_answer_exactly() -> None:
    ledger = Ledger(100, [TABLE] * 2, seats=2)
    ledger.answer(100, 1.0, "OVERLOADED")
    ledger.answer(100, 2.0, "OVERLOADED")
    assert ledger.check() == {"op answered twice": 1, "op never answered": 1}
