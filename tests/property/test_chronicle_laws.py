"""The laws that the chronicle claims: told again, restored, dropped on the way, a note counts once or is counted as lost."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from actors.runtime import Exit
from supervision.chronicle import Chronicle, Decided, Ending, Note, read_note

TEXT = st.text(max_size=20)
ENDINGS = st.builds(
    Ending,
    id=st.sampled_from(["session:a", "session:b", "gateway:1"]),
    kind=TEXT,
    where=TEXT,
    node=TEXT,
    exit=st.builds(Exit, TEXT, TEXT),
    decided=st.sampled_from(get_args(Decided)),
    after_s=st.floats(0, 100),
)
LIVES = [("supervisor:a", "1"), ("supervisor:a", "2"), ("supervisor:b", "1")]
TOLD = st.lists(st.tuples(st.sampled_from(LIVES), ENDINGS, st.integers(0, 50)), max_size=30)


def numbered(told: list[tuple[tuple[str, str], Ending, int]]) -> list[Note]:
    """Make notes of endings, each life with numbers of its own."""
    numbers: Counter[tuple[str, str]] = Counter()
    notes = []
    for (by, life), ending, at_ms in told:
        numbers[by, life] += 1
        notes.append(Note(by, life, numbers[by, life], at_ms, ending))
    return notes


@given(st.builds(Note, TEXT, TEXT, st.integers(1, 2**60), st.integers(0, 2**60), ENDINGS, st.integers(0, 2**60)))
def test_a_note_comes_back_as_it_was_packed(note: Note) -> None:
    assert read_note(note.pack()) == note


@given(
    st.one_of(
        st.binary(max_size=80), st.builds(lambda n: n.pack()[:-3], st.builds(Note, TEXT, TEXT, st.just(1), st.just(1), ENDINGS))
    )
)
def test_what_is_no_note_is_none_and_no_failure(junk: bytes) -> None:
    assert read_note(junk) is None


@given(TOLD, st.data())
def test_a_note_counts_once_however_often_a_batch_is_sent_again(
    told: list[tuple[tuple[str, str], Ending, int]], data: st.DataObject
) -> None:
    notes, chronicle = numbered(told), Chronicle()
    for note in notes:
        again = [earlier for earlier in chronicle.notes if (earlier.by, earlier.life) == (note.by, note.life)]
        for earlier in data.draw(st.lists(st.sampled_from(again), max_size=3)) if again else []:
            assert chronicle.add(earlier) is None
        added = chronicle.add(note)
        assert added is not None
    assert [replace(note, nth=0) for note in chronicle.notes] == notes
    assert chronicle.lost == 0


@given(TOLD, st.integers(1, 10))
def test_the_latest_are_kept_and_numbered_past_what_is_forgotten(
    told: list[tuple[tuple[str, str], Ending, int]], keep: int
) -> None:
    notes, chronicle, counted = numbered(told), Chronicle(keep), Counter[str]()
    for note in notes:
        counted[note.ending.id] += 1
        added = chronicle.add(note)
        assert added == replace(note, nth=counted[note.ending.id])
    assert [replace(note, nth=0) for note in chronicle.notes] == notes[-keep:]


@given(TOLD, st.integers(0, 30), st.integers(0, 30), st.data())
def test_restored_from_its_rows_it_goes_on_as_if_nothing_had_been(
    told: list[tuple[tuple[str, str], Ending, int]], stored: int, behind: int, data: st.DataObject
) -> None:
    notes, whole = numbered(told), Chronicle()
    for note in notes:
        whole.add(note)
    rows = whole.notes[:stored]
    if rows:  # an answer of the store that was lost: the last rows were written twice
        rows += rows[-data.draw(st.integers(1, len(rows))) :]
    restored = Chronicle()
    restored.restore(rows)
    for note in notes[max(0, stored - behind) :]:  # some of those that are stored are told again
        restored.add(note)
    assert restored.notes == whole.notes
    assert restored.rows(100) == whole.rows(100)


@given(TOLD, st.sets(st.integers(0, 29)))
def test_what_was_dropped_between_two_notes_of_a_life_is_counted(
    told: list[tuple[tuple[str, str], Ending, int]], dropped: set[int]
) -> None:
    notes, chronicle = numbered(told), Chronicle()
    arriving = [note for index, note in enumerate(notes) if index not in dropped]
    for note in arriving:
        chronicle.add(note)
        chronicle.add(note)
    ends: dict[tuple[str, str], list[int]] = {}
    for note in arriving:
        ends.setdefault((note.by, note.life), []).append(note.number)
    assert chronicle.lost == sum(numbers[-1] - numbers[0] + 1 - len(numbers) for numbers in ends.values())


@given(TOLD, st.integers(0, 40))
def test_rows_come_with_the_latest_ending_first_and_no_more_than_asked_for(
    told: list[tuple[tuple[str, str], Ending, int]], limit: int
) -> None:
    chronicle = Chronicle()
    for note in numbered(told):
        chronicle.add(note)
    rows = chronicle.rows(limit)
    times = [note.at_ms for note in chronicle.notes]
    assert [row["at_ms"] for row in rows] == sorted(times, reverse=True)[:limit]
