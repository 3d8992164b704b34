"""The cells, how they are chosen, and what comes out of one."""

import pytest

from undying.cli.chaos.matrix import ABSENT, CELLS, FAULTS, LOADS, TARGETS, Cell, Felt, Outcome, Result, choose, document

CELL = Cell("session", "kill", "load")


def _result(*outcomes: Outcome) -> Result:
    return Result(CELL, list(outcomes))


def test_every_target_meets_every_fault_under_every_load_but_for_those_that_do_not_exist() -> None:
    assert len(CELLS) == (len(TARGETS) * len(FAULTS) - len(ABSENT)) * len(LOADS)
    assert {(cell.target, cell.fault) for cell in CELLS} | set(ABSENT) == {(t, f) for t in TARGETS for f in FAULTS}


def test_a_cell_is_chosen_by_its_name_and_many_by_a_pattern() -> None:
    assert choose(["session:kill:load"]) == [CELL]
    assert {cell.target for cell in choose(["supervisor:*:kill:idle"])} == {name for name in TARGETS if "supervisor" in name}
    assert choose([]) == list(CELLS)


def test_a_cell_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="no cell 'store:decide:load'"):
        choose(["session:kill:load", "store:decide:load"])


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        ("session", "session"),
        ("character", "character"),
        ("supervisor:characters", "character"),
        ("supervisor:providers", "provider"),
        ("supervisor:hosts", "session"),
        ("gateway", "session"),
        ("store", "session"),
    ],
)
def test_a_fault_is_measured_at_the_kind_of_entity_that_it_is_nearest_to(target: str, kind: str) -> None:
    assert Cell(target, "kill", "load").feels == kind


def test_the_faults_of_all_scenes_count_together() -> None:
    result = _result(
        Outcome((Felt(10.0, 1_000.0), Felt(30.0, 900.0)), acked=50, played_s=2.0),
        Outcome((Felt(20.0, 800.0),), 10, played_s=1.0),
    )
    report = result.to_json()
    assert (report["faults"], report["acked"], report["ops_per_s"]) == (3, 60, 20.0)
    assert report["next_ack_ms"] == {"p50": 20.0, "p99": 30.0, "max": 30.0, "all": [10.0, 30.0, 20.0]}
    assert result.clean


@pytest.mark.parametrize("bad", [Outcome(lost=1), Outcome(repeated=1), Outcome(out_of_order=1)])
def test_one_fault_found_is_enough_for_a_cell_not_to_be_clean(bad: Outcome) -> None:
    assert not _result(Outcome(), bad).clean


def test_a_cell_that_never_recovered_is_not_clean_and_says_why() -> None:
    result = _result(Outcome((Felt(None, None),), broken="nothing was acknowledged"))
    report = result.to_json()
    assert (report["clean"], report["recovered"], report["next_ack_ms"]) == (False, False, None)
    assert report["examples"] == ["nothing was acknowledged"]


def test_the_document_names_the_cells_that_do_not_exist_among_those_that_were_asked_for() -> None:
    assert document([_result()])["absent"] == []
    everything = document([Result(cell) for cell in CELLS])["absent"]
    assert isinstance(everything, list)
    assert len(everything) == len(ABSENT)
