"""What is alive, as a tree."""

import io

import pytest
from rich.console import Console

from undying.cli.tree import branches, fitted, table
from undying.protocol.data import Json, JsonObject


def _row(row_id: str, parent: str | None) -> JsonObject:
    return {
        "id": row_id,
        "parent": parent,
        "kind": "session",
        "state": "live",
        "pid": 7,
        "node": "n",
        "epoch": 1,
        "restarts": 0,
    }


def _drawn(rows: list[JsonObject]) -> list[str]:
    return [f"{branch.lead}{branch.row['id']}" for branch in branches(rows)]


def test_children_come_below_their_parent_whatever_the_order_of_rows() -> None:
    rows = [_row("session:b", "sessions"), _row("sessions", "root"), _row("session:a", "sessions"), _row("root", None)]
    assert _drawn([*rows, _row("gateways", "root")]) == [
        "root",
        "├─ sessions",
        "│  ├─ session:b",
        "│  └─ session:a",
        "└─ gateways",
    ]


def test_a_row_whose_parent_is_not_there_stands_at_the_top() -> None:
    assert _drawn([_row("session:a", "sessions")]) == ["session:a"]


def test_rows_that_are_their_own_ancestors_still_show_once() -> None:
    assert sorted(branch.row["id"] for branch in branches([_row("a", "b"), _row("b", "a"), _row("c", "c")])) == ["a", "b", "c"]  # type: ignore[type-var] # ids are strings


def test_two_rows_of_one_id_both_show() -> None:
    assert _drawn([_row("a", None), _row("a", None)]) == ["a", "a"]


def test_a_deep_tree_does_not_overflow() -> None:
    rows = [_row(str(n), str(n - 1) if n else None) for n in range(3_000)]
    assert len(branches(rows)) == 3_000


def _rows(sessions: int) -> list[JsonObject]:
    top = [_row("root", None), _row("supervisor:sessions", "root"), _row("supervisor:gateways", "root")]
    kinds: list[JsonObject] = [{"kind": "root"}, {"kind": "supervisor"}, {"kind": "supervisor"}]
    whole = [row | kind for row, kind in zip(top, kinds, strict=True)]
    return [*whole, *(_row(f"session:{number}", "supervisor:sessions") for number in range(sessions))]


def test_a_tree_that_does_not_fit_leaves_out_what_is_well_before_anything_else() -> None:
    rows = _rows(10)
    rows[5]["state"] = "quarantined"
    shown, left_out = fitted(branches(rows), 5)
    assert [branch.row["id"] for branch in shown] == [
        "root",
        "supervisor:sessions",
        "session:0",
        "session:2",
        "supervisor:gateways",
    ]
    assert left_out == 8


def test_a_tree_with_nothing_to_spare_is_cut_at_its_end() -> None:
    shown, left_out = fitted(branches(_rows(2)), 2)
    assert ([branch.row["id"] for branch in shown], left_out) == (["root", "supervisor:sessions"], 3)


@pytest.mark.parametrize("rows_max", [1, 4, 8, 12, 13, 14, 99])
def test_a_table_takes_no_more_lines_than_it_may(rows_max: int) -> None:
    out = io.StringIO()
    rows = [*_rows(10)]
    Console(file=out, width=100).print(table({"url": "http://here:1", "actors": [*rows]}, rows_max))
    lines = out.getvalue().splitlines()
    assert len(lines) == 2 + min(rows_max, len(rows))
    assert ("more" in lines[-1]) == (rows_max < len(rows))


def test_a_table_shows_ids_states_and_numbers_as_they_are() -> None:
    out = io.StringIO()
    rows: list[Json] = [_row("root", None), {"id": "session:[red]x", "parent": "root", "state": "quarantined", "epoch": None}]
    Console(file=out, width=120).print(table({"url": "http://here:1", "actors": rows}))
    assert "http://here:1" in out.getvalue()
    assert "└─ session:[red]x" in out.getvalue()
    assert "quarantined" in out.getvalue()
