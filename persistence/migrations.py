"""Old forms of a state become new ones, by pure functions from one schema to the next.

An upcaster from schema n takes a state as schema n had it and returns it as schema n + 1 has it. Upcasters stay for as long
as a checkpoint of their schema may exist.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from persistence.store import Damaged
from undying.protocol.data import JsonObject
from undying.protocol.ids import Kind

Upcaster: TypeAlias = Callable[[JsonObject], JsonObject]


@dataclass(frozen=True, slots=True)
class Upcasters:
    """The table of upcasters: by kind, then by the schema that they start from."""

    table: Mapping[Kind, Mapping[int, Upcaster]] = field(default_factory=dict)

    def upcast(self, kind: Kind, schema: int, target: int, state: JsonObject) -> JsonObject:
        """Return a state of `schema` in the form of `target`.

        Raises Damaged when the schema is newer than the target, when a step is missing, and when the state is not what
        its schema says it is.
        """
        if schema > target:
            raise Damaged(f"a {kind.value} was saved with schema {schema}; this version reads up to {target}")
        steps = self.table.get(kind, {})
        for version in range(schema, target):
            step = steps.get(version)
            if step is None:
                raise Damaged(f"no way leads from schema {version} of a {kind.value} to {version + 1}")
            try:
                state = step(state)
            except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
                raise Damaged(f"a {kind.value} of schema {version} is not what that schema says: {error!r}") from error
        return state
