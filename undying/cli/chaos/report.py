"""What `undying chaos` says at the end: tables for a terminal and for a document. Pure, but for `put_into`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table as Grid
from rich.text import Text

from undying.cli.chaos.matrix import ABSENT, FAULTS, LOADS, Result
from undying.loadtest.figures import percentile

COLUMNS: Final = {
    "n": "faults that fell",
    "acked": "ops that were acknowledged",
    "lost": "acknowledged ops, or answers of a provider, that somebody was not given",
    "twice": "ops that were done twice, or events that were heard twice",
    "order": "ops or events out of their order",
    "p50": "ms from the fault to the answer to the next op that was asked after it: the middle one",
    "p99": "the same, not exceeded by 99 of 100",
    "max": "the same, the worst",
    "whole": "seconds from the fault until everything was live again and spares were warm, the middle one",
    "cut": "connections of clients that broke",
    "err": "calls of the SDK that failed",
    "ops/s": "acknowledged ops per second while the lanes played, faults included",
}
"""What stands in a row after the cell's name, and what it means."""

LEGEND: Final = (
    "n faults; p50, p99, max: ms to the next ack; whole: s until all was live again; cut: connections that broke; "
    "err: SDK calls that failed"
)
BEGIN: Final = "<!-- undying chaos: begin -->"
END: Final = "<!-- undying chaos: end -->"
NONE: Final = "–"

PREFACE: Final = f"""# What a failure costs

Measured by `undying chaos`.

{BEGIN}
{END}
"""


def drawn(results: Sequence[Result]) -> RenderableType:
    """Draw the table for a terminal, and what went wrong below it."""
    grid = Grid(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    grid.add_column("cell", overflow="fold")  # the one that gives way on a narrow screen
    for name in COLUMNS:
        grid.add_column(name, justify="right", no_wrap=True)
    for result in results:
        style = "" if result.clean else "bold red"
        grid.add_row(Text(result.cell.id, style=style), *(Text(cell, style=style) for cell in _cells(result)))
    said = [Text(line, style="red") for result in results for line in _troubles(result)]
    return Group(grid, Text(""), Text(LEGEND, style="dim"), *said, _end(results))


def _end(results: Sequence[Result]) -> Text:
    if all(result.clean for result in results):
        return Text("Nothing was lost.", style="bold green")
    if all(result.kept for result in results):
        return Text("Nothing was lost, but the server did not always recover.", style="bold red")
    return Text("The promise was broken.", style="bold red")


def markdown(results: Sequence[Result]) -> str:
    """Write the tables for a document: how long each fault was felt under each load, then everything about each cell."""
    parts = [_overview(results, load) for load in LOADS if any(result.cell.load == load for result in results)]
    lines = ["### All cells", "", *(f"- *{name}*: {meaning}" for name, meaning in COLUMNS.items()), ""]
    lines += _rows(("cell", *COLUMNS), [(result.cell.id, *_cells(result)) for result in results])
    troubles = [f"- {line}" for result in results for line in _troubles(result)]
    absent = [f"- {target}, {fault}: {why}." for (target, fault), why in ABSENT.items()]
    return "\n".join([*parts, *lines, "", *troubles, *([""] if troubles else []), "Cells that do not exist:", "", *absent])


def put_into(path: Path, text: str) -> None:
    """Put a text between the marks of a document, in place of what is there; a file without them is written anew.

    Raises OSError.
    """
    before = path.read_text(encoding="utf-8") if path.exists() else PREFACE
    if BEGIN not in before or END not in before:
        before = PREFACE
    head, _, rest = before.partition(BEGIN)
    path.write_text(f"{head}{BEGIN}\n\n{text}\n\n{END}{rest.partition(END)[2]}", encoding="utf-8")


def _overview(results: Sequence[Result], load: str) -> str:
    """Write a row per target and a column per fault: how long was felt what fell under a load."""
    found = {(result.cell.target, result.cell.fault): result for result in results if result.cell.load == load}
    targets = list(dict.fromkeys(target for target, _ in found))
    faults = [fault for fault in FAULTS if any(fault == other for _, other in found)]
    rows = [(target, *(_overview_cell(found.get((target, fault)), target, fault) for fault in faults)) for target in targets]
    title = f"### {load.capitalize()}: ms to the next ack, median / worst"
    return "\n".join([title, "", *_rows(("", *faults), rows), ""])


def _overview_cell(result: Result | None, target: str, fault: str) -> str:
    if result is None:
        return "does not exist" if (target, fault) in ABSENT else ""
    p50 = percentile(result.acks_ms, 0.5)
    felt = "no ack" if p50 is None else f"{_ms(p50)} / {_ms(max(result.acks_ms))}"
    return felt if result.clean else f"**{felt}**"


def _rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---", *["---:"] * (len(head) - 1)], *rows)]


def _cells(result: Result) -> tuple[str, ...]:
    acks, whole = result.acks_ms, percentile(result.whole_ms, 0.5)
    return (
        f"{result.faults:,}",
        f"{result.total('acked'):,}",
        *(f"{result.total(name):,}" for name in ("lost", "repeated", "out_of_order")),
        _ms(percentile(acks, 0.5)),
        _ms(percentile(acks, 0.99)),
        _ms(max(acks, default=None)),
        NONE if whole is None else f"{whole / 1000:,.1f}",
        f"{result.total('sockets_closed'):,}",
        f"{result.total('refused'):,}",
        NONE if result.ops_per_s is None else f"{result.ops_per_s:,.0f}",
    )


def _ms(value: float | None) -> str:
    if value is None:
        return NONE
    return f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def _troubles(result: Result) -> list[str]:
    return [*([result.broken] if result.broken else []), *(f"{result.cell.id}: {example}" for example in result.examples)]
