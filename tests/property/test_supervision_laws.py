"""The laws that policy and placement claim."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from actors.runtime import Exit, Program
from supervision.history import Ended, History
from supervision.placement import Budget, Full, HostView, Request, StartNew, TakeSpare, UseHost, place
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


NAMES = [f"h{number}" for number in range(6)]
HOSTS = st.lists(
    st.builds(
        HostView,
        name=st.sampled_from(NAMES),
        node=st.sampled_from(["n1", "n2"]),
        load=st.integers(0, 4),
        ward=st.booleans(),
    ),
    unique_by=lambda host: host.name,
    max_size=6,
)
BUDGETS = st.builds(
    Budget, hosts_per_node=st.integers(1, 4), suspects_max=st.integers(1, 3), entities_per_host_max=st.integers(1, 4)
)
REQUESTS = st.builds(
    Request,
    stream=st.just("session:t"),
    avoid=st.sampled_from(["", *NAMES]),
    near=st.sampled_from(["", *NAMES]),
    suspect=st.booleans(),
)
SPARES = st.lists(st.sampled_from(["s1", "s2", "s3"]), unique=True)


@given(REQUESTS, HOSTS, SPARES, st.integers(0, 2), BUDGETS)
def test_placement_keeps_its_word(
    request: Request, hosts: list[HostView], spares: list[str], coming: int, budget: Budget
) -> None:
    choice = place(request, hosts, spares, coming, budget)
    by_name = {host.name: host for host in hosts}
    own = [host for host in hosts if host.ward == request.suspect and host.name != request.avoid]
    nodes = max(1, len({host.node for host in hosts}))
    limit = budget.suspects_max if request.suspect else budget.hosts_per_node * nodes
    match choice:
        case UseHost(name):
            chosen = by_name[name]
            assert name != request.avoid
            assert chosen.load < budget.entities_per_host_max
            if chosen.load:
                assert chosen.ward == request.suspect, "a suspect and a healthy one share a host"
                assert len(own) + coming >= limit, "shared although there was room for a host of its own"
                assert name == request.near or chosen.load == min(host.load for host in own)
        case TakeSpare(name):
            assert name in spares
            assert len(own) + coming < limit
        case StartNew():
            assert not spares or not own
        case Full():
            assert len(own) + coming >= limit
            assert all(host.load >= budget.entities_per_host_max for host in own)


@given(REQUESTS, HOSTS, SPARES, st.integers(0, 2), BUDGETS)
def test_placement_does_not_depend_on_the_order_of_hosts(
    request: Request, hosts: list[HostView], spares: list[str], coming: int, budget: Budget
) -> None:
    assert place(request, hosts, spares, coming, budget) == place(request, hosts[::-1], spares, coming, budget)
