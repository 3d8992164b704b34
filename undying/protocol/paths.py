"""Paths into plain data: `abilities.str`, `inventory.0.qty`. A step is a map's key or a list's index.

Data is never changed in place: `replaced` copies it along the path and shares the rest.
"""

from __future__ import annotations

from typing import Any, Final

INDEX_DIGITS_MAX: Final = 5


def replaced(node: Any, steps: list[str], value: Any) -> Any:
    """Return `node` with the value at a path: maps take new keys, lists the index after their last one.

    Raises KeyError where the path leads nowhere.
    """
    if not steps:
        return value
    step, rest = steps[0], steps[1:]
    if isinstance(node, dict):
        return {**node, step: replaced(node[step] if rest else None, rest, value)}
    index = index_of(step)
    if not isinstance(node, list) or index is None or index > len(node) or (rest and index == len(node)):
        raise KeyError(step)
    below = replaced(node[index] if rest else None, rest, value)
    return [*node[:index], below, *node[index + 1 :]]


def part_of(node: Any, steps: list[str]) -> Any:
    """Return what is at a path that is there."""
    for step in steps:
        node = node[int(step)] if isinstance(node, list) else node[step]
    return node


def index_of(step: str) -> int | None:
    """Return a step as a list's index, None when it is none."""
    return int(step) if step.isascii() and step.isdigit() and len(step) <= INDEX_DIGITS_MAX else None
