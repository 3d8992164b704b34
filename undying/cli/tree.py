"""What is alive in a server, drawn as a tree: pure functions from the rows of `GET /v1/status` to what rich prints.

Rows come from several processes that may restart meanwhile: a row whose parent is missing, or is itself, or is its own
descendant, still shows, at the top.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from rich.markup import escape
from rich.table import Table

from undying.protocol.data import Json, JsonObject

COLUMNS: Final = ("kind", "state", "pid", "node", "epoch", "restarts")
LEAVES: Final = ("session", "character", "provider", "spare")
CALM: Final = ("live", "resting")
WHY_MAX: Final = 60
"""Characters of the last column."""
STYLES: Final[Mapping[str, str]] = {
    "live": "green",
    "starting": "yellow",
    "restarting": "bold yellow",
    "resting": "dim",
    "draining": "yellow",
    "quarantined": "bold red",
    "failed": "bold red",
}


class Branch(NamedTuple):
    """A row at its place: what is drawn before its id, and the row."""

    lead: str
    row: JsonObject


def branches(rows: Sequence[JsonObject]) -> list[Branch]:
    """Put rows in the order of the tree, each with the lines that lead to it. Every row comes out once."""
    by_parent: dict[Json, list[int]] = {}
    ids = {row.get("id") for row in rows}
    tops: list[int] = []
    for number, row in enumerate(rows):
        parent = row.get("parent")
        if parent is None or parent not in ids or parent == row.get("id"):
            tops.append(number)
        else:
            by_parent.setdefault(parent, []).append(number)
    drawn: set[int] = set()
    out: list[Branch] = []
    for number in [*tops, *range(len(rows))]:  # the second part finds only rows that are their own ancestors
        out.extend(_draw(number, rows, by_parent, drawn))
    return out


def _draw(top: int, rows: Sequence[JsonObject], by_parent: Mapping[Json, list[int]], drawn: set[int]) -> Iterator[Branch]:
    pending = [(top, "", "")]  # row, what leads to it, what leads to its children
    while pending:
        number, lead, below = pending.pop()
        if number in drawn:
            continue
        drawn.add(number)
        yield Branch(lead, rows[number])
        children = [child for child in by_parent.get(rows[number].get("id"), []) if child not in drawn]
        for child in reversed(children):
            last = child == children[-1]
            pending.append((child, below + ("└─ " if last else "├─ "), below + ("   " if last else "│  ")))


def count(status: JsonObject) -> int:
    """Return how many rows the answer of `GET /v1/status` has."""
    return len(_rows(status))


def ways_out(status: JsonObject) -> list[str]:
    """Return a line for each row that waits for somebody: what is to be done."""
    return [f"{row.get('id')}: {row['way_out']}" for row in _rows(status) if row.get("way_out")]


def fitted(drawn: Sequence[Branch], rows_max: int) -> tuple[list[Branch], int]:
    """Leave out rows until there are at most `rows_max`, and tell how many: what lives and has no children first."""
    parents = {branch.row.get("parent") for branch in drawn}
    calm = [
        number
        for number, branch in enumerate(drawn)
        if branch.row.get("kind") in LEAVES and branch.row.get("state") in CALM and branch.row.get("id") not in parents
    ]
    over = max(0, len(drawn) - rows_max)
    left_out = set(calm[max(0, len(calm) - over) :])
    kept = [branch for number, branch in enumerate(drawn) if number not in left_out][:rows_max]
    return kept, len(drawn) - len(kept)


def table(status: JsonObject, rows_max: int | None = None) -> Table:
    """Draw the answer of `GET /v1/status`, whole, or in at most `rows_max` lines below the heading."""
    whole = branches(_rows(status))
    shown, left_out = (whole, 0) if rows_max is None or len(whole) <= rows_max else fitted(whole, rows_max - 1)
    drawn = Table(title=escape(str(status.get("url", ""))), title_justify="left", box=None, header_style="bold", pad_edge=False)
    drawn.add_column("actor", no_wrap=True)
    one_line = rows_max is not None
    for name in COLUMNS:
        right = name in ("pid", "epoch", "restarts")
        drawn.add_column(name, justify="right" if right else "left", no_wrap=one_line or name != "node")
    drawn.add_column("last exit", no_wrap=one_line, overflow="ellipsis" if one_line else "fold")
    for lead, row in shown:
        style = STYLES.get(str(row.get("state")), "")
        cells = [_cell(row.get(name), style if name == "state" else "") for name in COLUMNS] + [_cell(_why(row))]
        drawn.add_row(f"[dim]{lead}[/dim]{_cell(row.get('id'))}" if lead else _cell(row.get("id")), *cells)
    if left_out:
        drawn.add_row(f"[dim]… and {left_out} more[/dim]")
    return drawn


def _rows(status: JsonObject) -> list[JsonObject]:
    return [row for row in _list(status.get("actors")) if isinstance(row, dict)]


def _why(row: JsonObject) -> str:
    """Say what a person wants to know of a row: why it does not live, else how it last ended and when."""
    if row.get("reason"):
        return str(row["reason"])[:WHY_MAX]
    last = row.get("last_exit")
    if not isinstance(last, dict):
        return ""
    ago_ms = last.get("ago_ms")
    ago = f"{ago_ms / 1000:.0f} s ago" if isinstance(ago_ms, int | float) else ""
    return " ".join(str(part) for part in (last.get("reason"), ago, last.get("detail")) if part)[:WHY_MAX]


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []


def _cell(value: Json, style: str = "") -> str:
    text = "" if value is None else escape(str(value))
    return f"[{style}]{text}[/{style}]" if style and text else text
