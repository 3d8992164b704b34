"""The table of entities against a shell that does what it wants, in any order, late, or never (`entity_shell`)."""

from __future__ import annotations

from unittest import mock

import pytest
from hypothesis import event, given, note, settings
from hypothesis import strategies as st

from supervision import entity_table
from supervision.entity_events import Answer, Refuse
from supervision.entity_table import FAILED_S
from tests.property.entity_shell import STREAMS, Shell
from undying.protocol.errors import Code

STORIES = st.lists(st.integers(0, 2**16), min_size=30, max_size=150)
WAITERS_MAX = 3


def told(story: list[int]) -> Shell:
    """Return the shell after a story; each step on the way has been checked."""
    shell = Shell()
    with mock.patch.object(entity_table, "WAITERS_MAX", WAITERS_MAX):
        try:
            for number in story:
                shell.act(number)
        finally:
            note(", ".join(shell.log))
    return shell


@settings(max_examples=800, deadline=None)
@given(STORIES)
def test_whatever_comes_in_whatever_order_everybody_is_answered_and_nothing_is_stuck(story: list[int]) -> None:
    shell = told(story)
    for entity in shell.entities():
        event(f"at the end of the story: {entity.state}")
    shell.calm_down()
    assert not shell.open, "somebody waits for ever"
    assert len(shell.answered) <= shell.tickets
    for entity in shell.entities():
        assert entity.state in ("live", "quarantined", "failed"), f"not in peace: {entity}"
    assert set(shell.places) <= set(shell.table.entities), "a place is kept by nobody"


@settings(max_examples=200, deadline=None)
@given(STORIES)
def test_in_peace_whoever_asks_gets_what_was_created_unless_it_is_in_quarantine(story: list[int]) -> None:
    shell = told(story)
    shell.calm_down()
    shell.now += FAILED_S
    for stream in STREAMS:
        entity = shell.table.entities.get(stream)
        quarantined = entity is not None and entity.state == "quarantined"
        home = shell.home(stream)
        ticket = shell.ask(stream, avoid=home.host if home else "")
        shell.calm_down()
        match shell.answered[ticket]:
            case Answer(_, host):
                assert shell.lives[stream].host == host, "nobody lives there"
            case Refuse(_, failure):
                assert failure.code is (Code.QUARANTINED if quarantined else Code.NOT_FOUND)
                assert quarantined or stream not in shell.epochs


@pytest.mark.parametrize("stream", STREAMS)
def test_a_calm_story_has_what_one_expects(stream: str) -> None:
    shell = Shell()
    first = shell.ask(stream)
    shell.calm_down()
    created = shell.ask(stream, create=True)
    shell.calm_down()
    answers = [shell.answered[first], shell.answered[created]]
    assert [type(answer) for answer in answers] == [Refuse, Answer]
