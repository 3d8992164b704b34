"""The shape of plain data: what MessagePack and JSON can both carry, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
JsonObject: TypeAlias = dict[str, Json]

DEPTH_MAX = 16
"""Containers inside containers that a frame from a client may hold."""


def depth_exceeds(value: object, limit: int = DEPTH_MAX) -> bool:
    """Tell whether containers in `value` nest deeper than `limit`. Iterative, so it can't overflow the stack."""
    level: list[object] = [value]
    for _ in range(limit + 1):
        level = [child for node in level for child in _children(node)]
        if not level:
            return False
    return True


def _children(node: object) -> Iterator[object]:
    if isinstance(node, Mapping):
        yield from node.values()
    elif isinstance(node, list | tuple):
        yield from node
