import pytest

from benchmarks.keepalive import NotAnswered, read_head
from benchmarks.memory import ROLES, Reading, pss
from benchmarks.stored import Stored
from benchmarks.tables_report import Stage, growth_table, markdown, memory_table, speed_table, work_table

EMPTY = Stored(0, 0)


def _stage(name: str, held: int, stored: Stored = EMPTY, **more: int) -> Stage:
    """A moment at which every role held as much, in one process each."""
    return Stage(name, Reading(dict.fromkeys(ROLES, held) | more, dict.fromkeys(ROLES, 1)), stored)


def test_a_rollup_tells_a_process_its_share() -> None:
    rollup = "55d0-7ffe ---p 00000000 00:00 0  [rollup]\nRss:  60000 kB\nPss:  41000 kB\nPss_Dirty:  30000 kB\n"
    assert pss(rollup) == 41_000 * 1024


def test_a_process_that_is_ending_has_no_share() -> None:
    assert pss("") == 0


def test_memory_is_shown_by_role_and_summed_up() -> None:
    lines = memory_table([_stage("before", 2_000_000), _stage("after", 2_000_000, host=9_500_000)]).splitlines()
    assert lines[0] == "| PSS, MB (processes) | before | after |"
    assert "| hosts | 2.0 (1) | 9.5 (1) |" in lines
    assert lines[-1] == "| **all** | **14.0** (7) | **21.5** (7) |"


def test_what_tables_cost_is_what_is_held_more_than_at_first_but_for_the_store_and_what_stands_empty() -> None:
    before = _stage("before", 1_000_000, Stored(100_000, 0))
    after = _stage("after", 1_000_000, Stored(600_000, 50_000), gateway=1_200_000, spares=9_000_000, store=5_000_000)
    lines = growth_table([before, after], tables=100).splitlines()
    assert "| gateway | 2.00 |" in lines
    assert "| store (Valkey) | 40.00 |" in lines
    assert "| **all in which something lives** | **2.00** |" in lines
    assert "| in use in the store | 5.00 |" in lines
    assert "| append-only file | 0.50 |" in lines


def test_work_is_that_of_the_server_alone() -> None:
    assert work_table({"gateway": 0.01, "host": 0.025, "load": 0.5, "others": 1.0}).endswith("|  | 1.0 | 2.5 | 3.5 |")


def test_times_are_shown_in_ms() -> None:
    assert speed_table({"woken": [0.010, 0.012, 0.500]}).endswith("| woken | 3 | 12.0 | 500.0 | 500.0 |")
    assert speed_table({"nobody": []}).endswith("| nobody | 0 | 0.0 | 0.0 | 0.0 |")


def test_a_table_has_a_line_below_its_head() -> None:
    assert markdown(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


def test_the_head_of_an_answer_tells_status_and_size() -> None:
    assert read_head(b"HTTP/1.1 201 Created\r\nContent-Length: 12\r\nX: y\r\n\r\n") == (201, 12)


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"])
def test_an_answer_of_another_kind_is_refused(head: bytes) -> None:
    with pytest.raises(NotAnswered):
        read_head(head)
