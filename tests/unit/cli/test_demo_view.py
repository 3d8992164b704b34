"""What the demo draws."""

import io
from collections.abc import Sequence

from rich.console import Console, RenderableType

from undying.cli.demo.verdict import Verdict
from undying.cli.demo.view import actors, timeline, verdict
from undying.loadtest.recovery import Recovery
from undying.protocol.data import JsonObject

CHARACTER = "character:" + "x" * 12


def _text(drawn: RenderableType, width: int = 100) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(drawn)
    return out.getvalue()


def _verdict(lost: int = 0, kills: Sequence[Recovery] = ()) -> Verdict:
    return Verdict(2_160, 2_160, 5, lost, 0, 0, tuple(kills), ("lost: [b]a line[/b]",) * lost)


def test_a_kill_shows_with_when_it_was_noticed_and_when_it_was_over_in_full() -> None:
    (line,) = _text(timeline([Recovery(CHARACTER, 5.3, 1_043.6)]), 96).splitlines()
    assert CHARACTER in line
    assert "noticed 5.3 ms" in line
    assert "live 1,043.6 ms" in line


def test_a_kill_that_is_not_over_says_so() -> None:
    assert "live …" in _text(timeline([Recovery("gateway:1", None, None)]))


def test_a_clean_verdict_says_the_counts_and_the_gaps() -> None:
    text = _text(verdict(_verdict(kills=[Recovery("gateway:1", 1.0, 90.0), Recovery("session:s", 2.0, 40.0)])))
    assert "2,160 of 2,160" in text
    assert "median 65.0 ms, worst 90.0 ms" in text
    assert "Nothing was lost." in text


def test_a_broken_promise_is_said_with_examples_word_for_word() -> None:
    text = _text(verdict(_verdict(lost=1)))
    assert "The promise was broken." in text
    assert "lost: [b]a line[/b]" in text


def test_actors_show_in_the_order_of_their_kinds_by_their_labels_and_none_that_are_not_of_the_play() -> None:
    rows: list[JsonObject] = [
        {"id": name, "kind": kind, "state": "live", "pid": 7, "epoch": 1, "restarts": 0}
        for name, kind in (
            ("spare:1", "spare"),
            ("supervisor:hosts", "supervisor"),
            ("character:c", "character"),
            ("session:probe", "session"),
            ("session:s", "session"),
        )
    ]
    labels = {"session:s": "session", "character:c": "character Mira"}
    lines = [line[:14] for line in _text(actors(rows, labels)).splitlines()]
    assert [line.strip() for line in lines] == ["actor", "session", "character Mira", "spare:1"]
