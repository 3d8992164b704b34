"""Orders reach the process that they are for, and a start that is to fail fails once."""

from pathlib import Path

import pytest

from undying.cli.chaos import orders
from undying.protocol.errors import UndyingError


async def test_an_order_is_carried_out_by_the_process_that_it_was_given_to(tmp_path: Path) -> None:
    taken: list[str] = []
    for pid in (1, 2):
        await orders.listen(tmp_path, pid, {orders.FAIL: lambda pid=pid: taken.append(f"{pid} fails")})  # type: ignore[misc]
    await orders.give(tmp_path, 2, orders.FAIL)
    await orders.give(tmp_path, 1, orders.FAIL)
    assert taken == ["2 fails", "1 fails"]


async def test_an_order_that_nobody_takes_is_an_error(tmp_path: Path) -> None:
    await orders.listen(tmp_path, 1, {})
    with pytest.raises(UndyingError, match="does not know"):
        await orders.give(tmp_path, 1, orders.HOG)
    with pytest.raises(UndyingError, match="takes no orders"):
        await orders.give(tmp_path, 2, orders.HOG)


def test_as_many_starts_of_a_program_fail_as_were_ordered(tmp_path: Path) -> None:
    orders.let_starts_fail(tmp_path, "host", 2)
    assert [orders.must_fail(tmp_path, name) for name in ("hosts", "host", "host", "host")] == [False, True, True, False]


def test_starts_that_did_not_come_about_are_withdrawn_and_counted(tmp_path: Path) -> None:
    orders.let_starts_fail(tmp_path, "host", 2)
    assert orders.must_fail(tmp_path, "host")
    assert orders.withdraw(tmp_path, "host") == 1
    assert not orders.must_fail(tmp_path, "host")
