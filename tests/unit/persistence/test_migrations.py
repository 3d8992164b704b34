"""Old states come up to date, step by step, or are refused."""

from __future__ import annotations

import pytest

from persistence.migrations import Upcasters
from persistence.store import Damaged
from undying.protocol.data import JsonObject
from undying.protocol.ids import Kind


def rename(state: JsonObject) -> JsonObject:
    return {"name": state["title"]}


def shout(state: JsonObject) -> JsonObject:
    return {"name": str(state["name"]).upper()}


UPCASTERS = Upcasters({Kind.SESSION: {1: rename, 2: shout}})


def test_each_step_leads_to_the_next_schema() -> None:
    assert UPCASTERS.upcast(Kind.SESSION, 1, 3, {"title": "moria"}) == {"name": "MORIA"}
    assert UPCASTERS.upcast(Kind.SESSION, 1, 2, {"title": "moria"}) == {"name": "moria"}


def test_a_state_of_the_target_schema_stays_as_it_is() -> None:
    assert UPCASTERS.upcast(Kind.CHARACTER, 1, 1, {"name": "Perrin"}) == {"name": "Perrin"}


@pytest.mark.parametrize(("kind", "schema", "target"), [(Kind.SESSION, 4, 3), (Kind.SESSION, 2, 4), (Kind.CHARACTER, 1, 2)])
def test_a_schema_that_no_way_leads_from_is_damaged(kind: Kind, schema: int, target: int) -> None:
    with pytest.raises(Damaged, match="schema"):
        UPCASTERS.upcast(kind, schema, target, {"name": "moria"})


def test_a_state_that_is_not_what_its_schema_says_is_damaged() -> None:
    with pytest.raises(Damaged, match="title"):
        UPCASTERS.upcast(Kind.SESSION, 1, 3, {"name": "moria"})
