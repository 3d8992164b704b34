"""What ended in a server, as a table."""

import io
from datetime import UTC, datetime

import pytest
from rich.console import Console

from undying.cli.endings import table, then, when
from undying.protocol.data import Json, JsonObject

NOON_MS = int(datetime(2026, 7, 1, 12, 0, 0, tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("at_ms", "shown"),
    [(NOON_MS - 61_000, "11:58:59"), (NOON_MS - 24 * 3600 * 1000, "2026-06-30 12:00:00"), (None, ""), ("soon", "")],
)
def test_a_time_of_today_is_a_time_of_day_and_any_other_has_its_date(at_ms: Json, shown: str) -> None:
    assert when(at_ms, NOON_MS, UTC) == shown


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"decided": "restart", "after_s": 0.0}, "restart at once"),
        ({"decided": "restart", "after_s": 0.4321}, "restart after 0.43 s"),
        ({"decided": "restart"}, "restart at once"),
        ({"decided": "quarantined", "after_s": 0.0}, "quarantined"),
        ({}, ""),
    ],
)
def test_what_was_decided_is_said_in_words(row: JsonObject, said: str) -> None:
    assert then(row) == said


def test_a_row_says_who_when_how_and_where_as_it_is_written() -> None:
    row: JsonObject = {"at_ms": NOON_MS, "id": "session:[b]x", "nth": 3, "reason": "killed", "detail": "signal 9"}
    row |= {"where": "process:1", "node": "n1", "decided": "restart", "after_s": 0}
    out = io.StringIO()
    Console(file=out, width=140).print(table([row, {}], NOON_MS, UTC))
    cells = [cell.strip() for cell in out.getvalue().splitlines()[1].split("  ") if cell.strip()]
    assert cells == ["12:00:00", "session:[b]x", "3.", "killed: signal 9", "restart at once", "process:1 on n1"]


def test_each_ending_is_one_line_however_narrow_the_screen() -> None:
    out = io.StringIO()
    rows: list[JsonObject] = [{"at_ms": NOON_MS, "id": "x" * 50, "reason": "killed", "detail": "y" * 500}] * 4
    Console(file=out, width=40).print(table(rows, NOON_MS, UTC))
    assert len(out.getvalue().splitlines()) == 5
