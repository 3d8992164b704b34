"""The tables that `undying chaos` prints and writes."""

import io
from pathlib import Path

from rich.console import Console

from undying.cli.chaos.matrix import Cell, Felt, Outcome, Result
from undying.cli.chaos.report import BEGIN, END, drawn, markdown, put_into


def _results(lost: int = 0) -> list[Result]:
    good = Outcome((Felt(41.26, 1_100.0), Felt(48.0, 1_200.0)), acked=2_000, sockets_closed=4, played_s=4.0)
    bad = Outcome((Felt(5_600.0, 6_100.0),), acked=10, lost=lost, examples=("lost: [b]a line[/b]",) * lost)
    return [Result(Cell("session", "kill", "load"), [good]), Result(Cell("gateway", "stop", "idle"), [bad])]


def _text(results: list[Result]) -> str:
    out = io.StringIO()
    Console(file=out, width=180).print(drawn(results))
    return out.getvalue()


def test_the_terminal_shows_a_row_per_cell_with_its_counts_and_times() -> None:
    row = next(line for line in _text(_results()).splitlines() if line.startswith("session:kill:load"))
    assert row.split()[1:] == ["2", "2,000", "0", "0", "0", "41.3", "48.0", "48.0", "1.1", "4", "0", "500"]


def test_on_a_narrow_terminal_no_figure_is_cut() -> None:
    out = io.StringIO()
    Console(file=out, width=80).print(drawn(_results()))
    assert "…" not in out.getvalue()
    assert "2,000" in out.getvalue()


def test_the_terminal_says_that_nothing_was_lost_or_what_was_word_for_word() -> None:
    assert "Nothing was lost." in _text(_results())
    assert "The promise was broken." in _text(_results(lost=1))
    assert "gateway:stop:idle: lost: [b]a line[/b]" in _text(_results(lost=1))


def test_the_terminal_tells_a_server_that_did_not_recover_from_a_promise_that_was_broken() -> None:
    stuck = Result(Cell("root", "hog", "idle"), [Outcome(broken="nothing was acknowledged any more")])
    text = _text([stuck])
    assert "nothing was acknowledged any more" in text
    assert "Nothing was lost, but the server did not always recover." in text


def test_the_document_has_an_overview_for_each_load_and_all_cells() -> None:
    lines = markdown(_results()).splitlines()
    assert "| session | 41.3 / 48.0 |" in lines
    assert "| gateway | 5,600 / 5,600 |" in lines
    assert any(line.startswith("| session:kill:load | 2 | 2,000 | 0 | 0 | 0 |") for line in lines)


def test_the_document_marks_a_cell_that_is_not_clean_and_says_what_happened() -> None:
    text = markdown(_results(lost=1))
    assert "| gateway | **5,600 / 5,600** |" in text
    assert "- gateway:stop:idle: lost: [b]a line[/b]" in text


def test_tables_take_the_place_between_the_marks_of_a_document_and_leave_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "failover.md"
    path.write_text(f"Before.\n{BEGIN}\nold\n{END}\nAfter.\n")
    put_into(path, "new")
    put_into(path, "newer")
    assert path.read_text() == f"Before.\n{BEGIN}\n\nnewer\n\n{END}\nAfter.\n"


def test_a_document_that_is_not_there_is_written_with_a_title(tmp_path: Path) -> None:
    put_into(tmp_path / "new.md", "tables")
    text = (tmp_path / "new.md").read_text()
    assert text.startswith("# ")
    assert f"{BEGIN}\n\ntables\n\n{END}" in text
