"""Setting any part of a sheet by its path (`undying.protocol.sheet_parts`).

What can't stand at that path of any sheet is a bad argument. What does not fit this sheet as it is now is a refusal that is
remembered: a place that is not there, a bound that is reached. What is told is the value as the sheet's model completed it.
Experience is the game masters' to award, and theirs to set.
"""

from __future__ import annotations

from typing import Any, Final, cast

from actors.character.hit_points import above_maximum
from actors.character.state import CharacterState, views_of
from actors.request import Request
from actors.rules import Accepted, Decision, Draft, Refused, refuse
from undying.protocol.character_ops import SetSheet
from undying.protocol.data import JsonObject
from undying.protocol.errors import Code, Failure
from undying.protocol.events import Event
from undying.protocol.paths import part_of, replaced
from undying.protocol.sheet import ABILITIES_MAX, CONDITIONS_MAX, ITEMS_MAX, NOTES_MAX, SheetData, excess
from undying.protocol.sheet_parts import check_part, overflow

_WHOLE_PARTS: Final = frozenset({"hp"})
"""Parts whose fields depend on each other: the event carries the whole part."""

_LENGTHS: Final = {"abilities": ABILITIES_MAX, "inventory": ITEMS_MAX, "conditions": CONDITIONS_MAX, "notes": NOTES_MAX}


def set_sheet(state: CharacterState, request: Request[SetSheet]) -> Decision:
    """Decide on a new value at a path."""
    checked = check_part(request.args.path, request.args.value)
    if isinstance(checked, Failure):
        return Refused(checked)
    steps, value = checked
    if steps[0] == "xp" and not request.leads:
        return refuse(Code.FORBIDDEN, "Only a game master sets experience.", path="path")
    try:
        sheet = cast(SheetData, replaced(state.sheet, steps, value))
    except KeyError:
        return refuse(Code.NOT_FOUND, "There is no such part on this sheet.", path="path")
    refused = _beyond_bounds(sheet, steps)
    if refused is not None:
        return refused
    told = steps[:1] if steps[0] in _WHOLE_PARTS else steps
    data: JsonObject = {"path": ".".join(told), "value": part_of(sheet, told)}
    return Accepted((Draft("sheet.changed", views_of(state.owner, steps[0], data)),), {})


def _beyond_bounds(sheet: SheetData, steps: list[str]) -> Refused | None:
    """Refuse what is a sheet no more with the new value at that path. Everywhere else it is as it was."""
    hp, limit = sheet["hp"], _LENGTHS.get(steps[0])
    if hp["max"] and hp["current"] > hp["max"]:
        return above_maximum(hp["max"])
    if limit is not None and len(part_of(sheet, steps[:1])) > limit:
        return refuse(Code.LIMIT_EXCEEDED, f"A sheet holds at most {limit} {steps[0]}.", limit=limit)
    oversized = overflow(sheet, steps) or excess(sheet)
    return None if oversized is None else Refused(oversized)


def sheet_changed(state: CharacterState, event: Event) -> None:
    """Take over a value at a path."""
    data: dict[str, Any] = event.data
    state.sheet = cast(SheetData, replaced(state.sheet, data["path"].split("."), data["value"]))
