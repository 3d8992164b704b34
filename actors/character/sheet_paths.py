"""Setting any part of a sheet by its path: `level`, `abilities.str`, `inventory.0.qty`, `attributes.speed.walk`.

The result as a whole has to be a sheet; what is stored and told is the value as the sheet's model completed it. Maps take
new keys, lists take an index that they have or the one after the last.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any, Final, cast

import msgpack
from pydantic import ValidationError

from actors.character.state import SHEET_BYTES_MAX, CharacterState, views_of
from actors.request import Request
from actors.rules import Accepted, Decision, Draft, Refused, refuse
from undying.protocol.character_ops import SetSheet
from undying.protocol.data import JsonObject
from undying.protocol.errors import Code
from undying.protocol.events import Event
from undying.protocol.ops import bad_args, bad_field
from undying.protocol.sheet import SheetData, check_sheet

STEPS_MAX: Final = 8
_WHOLE_PARTS: Final = frozenset({"hp"})
"""Parts whose fields depend on each other: the event carries the whole part."""


def set_sheet(state: CharacterState, request: Request[SetSheet]) -> Decision:
    """Decide on a new value at a path."""
    path = request.args.path
    steps = path.split(".")
    if len(steps) > STEPS_MAX or not all(steps) or steps[0] not in state.sheet:
        return Refused(bad_field("path", "there is no such part of a sheet"))
    draft = cast(dict[str, Any], deepcopy(state.sheet))
    if not _put(draft, steps, request.args.value):
        return Refused(bad_field("path", "there is no such part of a sheet"))
    try:
        sheet = check_sheet(draft)
    except ValidationError as problem:
        return Refused(bad_args(problem, "value", below=tuple(steps)))
    if sheet_size(sheet) > SHEET_BYTES_MAX:
        return too_large()
    told = steps[:1] if steps[0] in _WHOLE_PARTS else steps
    data: JsonObject = {"path": ".".join(told), "value": _get(cast(dict[str, Any], sheet), told)}
    return Accepted((Draft("sheet.changed", views_of(state.owner, steps[0], data)),), dict(data))


def sheet_size(sheet: SheetData) -> int:
    """Return the bytes of a sheet as MessagePack."""
    return len(cast(bytes, msgpack.packb(sheet)))


def too_large() -> Refused:
    """Refuse a sheet over the bound."""
    return refuse(Code.LIMIT_EXCEEDED, f"A sheet holds at most {SHEET_BYTES_MAX} bytes.", limit=SHEET_BYTES_MAX)


def sheet_changed(state: CharacterState, event: Event) -> None:
    """Take over a value at a path."""
    data: dict[str, Any] = event.data
    _put(cast(dict[str, Any], state.sheet), data["path"].split("."), deepcopy(data["value"]))


def _put(node: Any, steps: list[str], value: Any) -> bool:
    """Set the value in place; tell whether the path led anywhere."""
    for step in steps[:-1]:
        if isinstance(node, dict) and step in node:
            node = node[step]
        elif isinstance(node, list) and _index(step) < len(node):
            node = node[_index(step)]
        else:
            return False
    if isinstance(node, dict):
        node[steps[-1]] = value
        return True
    if not isinstance(node, list) or _index(steps[-1]) > len(node):
        return False
    node[_index(steps[-1]) : _index(steps[-1]) + 1] = [value]
    return True


def _get(node: Any, steps: list[str]) -> Any:
    for step in steps:
        node = node[_index(step)] if isinstance(node, list) else node[step]
    return node


def _index(step: str) -> int:
    """Return a step as a list's index; what is none is beyond the end of every list."""
    return int(step) if step.isascii() and step.isdigit() and len(step) < 6 else 1_000_000
