"""The laws that the policy claims."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from actors.runtime import Exit, Program
from supervision.history import Ended, History
from supervision.policy import Escalate, GiveUp, RestartAfter, decide
from supervision.spec import ChildSpec, Intensity, Restart

EXITS = st.sampled_from([Exit("killed"), Exit("failed"), Exit("stopped")])
INTENSITIES = st.builds(Intensity, restarts=st.integers(0, 8), within_s=st.floats(0.5, 100))


@given(INTENSITIES, st.lists(st.tuples(st.floats(0, 30), EXITS), max_size=40), st.integers())
def test_no_window_sees_more_restarts_than_the_intensity_grants(
    intensity: Intensity, endings: list[tuple[float, Exit]], seed: int
) -> None:
    spec = ChildSpec("child", Program("x"), intensity=intensity)
    history, rng, now, granted = History(), random.Random(seed), 0.0, list[float]()
    for pause_s, exit_ in endings:
        now += pause_s
        verdict = decide(spec, history, exit_, now, rng)
        history.add(Ended(now, "", exit_))
        if isinstance(verdict, Escalate):
            break
        assert isinstance(verdict, RestartAfter)
        assert 0 <= verdict.after_s <= spec.backoff.cap_s
        granted.append(now)
        assert sum(1 for at in granted if at > now - intensity.within_s) <= intensity.restarts


@given(st.lists(st.floats(3.1, 20.0), max_size=9), EXITS)
def test_a_child_that_lived_for_a_while_is_restarted_at_once_however_often_it_ended(lives: list[float], exit_: Exit) -> None:
    spec, history, rng, now = ChildSpec("child", Program("x")), History(), random.Random(0), 0.0
    for life_s in lives:
        now += life_s
        assert decide(spec, history, exit_, now, rng) == RestartAfter(0.0)
        history.add(Ended(now, "", exit_))


@given(INTENSITIES, EXITS, st.floats(0, 1e6))
def test_the_first_ending_is_answered_at_once(intensity: Intensity, exit_: Exit, now: float) -> None:
    verdict = decide(ChildSpec("child", Program("x"), intensity=intensity), History(), exit_, now, random.Random(0))
    assert verdict == RestartAfter(0.0) if intensity.restarts else isinstance(verdict, Escalate)


@given(EXITS)
def test_a_temporary_child_is_never_restarted_and_a_transient_one_not_after_an_end_in_order(exit_: Exit) -> None:
    def verdict(restart: Restart) -> object:
        return decide(ChildSpec("child", Program("x"), restart), History(), exit_, 0.0, random.Random(0))

    assert isinstance(verdict(Restart.TEMPORARY), GiveUp)
    assert isinstance(verdict(Restart.TRANSIENT), GiveUp if exit_.reason == "stopped" else RestartAfter)
    assert isinstance(verdict(Restart.PERMANENT), RestartAfter)
