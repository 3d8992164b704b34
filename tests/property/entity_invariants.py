"""What the table of entities promises at each step, as checks over what it was told and what it wants."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

from supervision import entity_table
from supervision.entity_events import (
    Activate,
    Asked,
    Crashed,
    Event,
    Home,
    HostGone,
    Leaving,
    NotActivated,
    Pause,
    Release,
    Released,
    Rested,
)
from supervision.entity_table import Entity, EntityTable

Wanted = Activate | Pause | Release


def check_activation(new: Activate, under_way: Sequence[Wanted], given_up: Container[str]) -> None:
    """There is one activation per entity, but for a check on a host that is known to be dead or about to end.

    No place is asked for while one is being given back.
    """
    for other in under_way:
        if isinstance(other, Activate) and other.stream == new.stream:
            assert other.on is not None, f"two activations at once: {other} and {new}"
            assert other.on.host in given_up, f"two activations at once: {other} and {new}"
        assert not (isinstance(other, Release) and other.stream == new.stream), f"{new} while its place is given back"
        assert other.attempt != new.attempt or other.stream != new.stream, f"one number for two: {other} and {new}"


def check_release(new: Release, under_way: Sequence[Wanted]) -> None:
    """A place is given back once, and while nobody asks for it."""
    for other in under_way:
        if other.stream == new.stream:
            assert not isinstance(other, Release), "given back twice"
            assert not (isinstance(other, Activate) and other.on is None), f"{new} while {other} asks for it"


def check_entity(entity: Entity, under_way: Sequence[Wanted], waiting: Mapping[int, Asked], watched: Container[str]) -> None:
    """Each state has what brings it to an end, and nothing else."""
    own = [work for work in under_way if work.stream == entity.stream and work.attempt == entity.attempt]
    assert set(entity.waiting) == {ticket for ticket, asked in waiting.items() if asked.stream == entity.stream}
    assert len(entity.waiting) <= entity_table.WAITERS_MAX
    assert (entity.home is None) == (entity.state != "live"), f"a home, or none: {entity}"
    match entity.state:
        case "starting" | "restarting":
            assert len(own) == 1, f"nothing is under way for {entity}"
            assert not isinstance(own[0], Release), f"{own} for {entity}"
        case "resting":
            assert [type(work) for work in own] == [Release], f"{own} for {entity}"
        case "live":
            assert entity.home is not None
            assert entity.home.host in watched, "nobody would notice its death"
            checks = [work for work in own if isinstance(work, Activate) and work.on == entity.home]
            assert own == checks, f"{own} for {entity}"
            assert checks or not entity.waiting, f"somebody waits for nothing: {entity}"
        case "quarantined" | "failed":
            assert not own, f"{own} for {entity}"
            assert not entity.waiting
            assert entity.failure is not None
    if entity.leaving:
        assert [type(work) for work in own] == [Pause], f"leaves, and nothing waits for that: {entity}"


def check_step(
    event: Event,
    before: Mapping[str, str],
    homes: Mapping[str, Home | None],
    attempts: Mapping[str, int],
    table: EntityTable,
) -> None:
    """Nothing that is well is restarted, and nobody is forgotten who was to come back."""
    for stream, state in before.items():
        entity = table.entities.get(stream)
        if entity is None:
            assert state != "live", f"{stream} was live and is forgotten"
            assert isinstance(event, Released), f"{stream} is forgotten by {event}"
        elif state == "live" and entity.state != "live":
            home = homes[stream]
            assert home is not None
            match event:
                case HostGone(host) | Leaving(host):
                    assert host == home.host
                case Rested():
                    assert (event.host, event.epoch) == (home.host, home.epoch)
                case Crashed() | NotActivated():
                    assert event.attempt == attempts[stream]
                case _:
                    raise AssertionError(f"{stream} was well until {event}")
