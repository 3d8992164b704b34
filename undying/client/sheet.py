"""A character's sheet as a client knows it, and how the character's events change it. Pure, like `undying.client.state`.

A viewer may see a part of a sheet; what they do not see is not in it, and events about it do not come.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from undying.client.events import TableEvent
from undying.protocol.data import Json, JsonObject
from undying.protocol.paths import replaced

Change: TypeAlias = Callable[[JsonObject, TableEvent], JsonObject]


def of(state: JsonObject) -> JsonObject:
    """Return the sheet in a character's state; empty when there is none."""
    sheet = state.get("sheet")
    return sheet if isinstance(sheet, dict) else {}


def _on_sheet(change: Callable[[JsonObject, JsonObject], JsonObject]) -> Change:
    """Return a change of the sheet by an event's data as a change of the character."""
    return lambda state, event: {**state, "sheet": change(of(state), event.data)}


def _hit_points(sheet: JsonObject, data: JsonObject) -> JsonObject:
    return {**sheet, "hp": {"current": data["hp"], "max": data["max"], "temp": data["temp"]}}


def _experience(sheet: JsonObject, data: JsonObject) -> JsonObject:
    return {**sheet, "xp": data["xp"]}


def _inventory(sheet: JsonObject, data: JsonObject) -> JsonObject:
    """Take over how many there are of an item and what was said of it; several of one name become the first of them."""
    told: JsonObject = {key: value for key, value in data.items() if key != "delta"}
    name, qty = told["name"], told["qty"]
    kept: list[Json] = []
    known = False
    for item in _list(sheet, "inventory"):
        if not isinstance(item, dict) or item.get("name") != name:
            kept.append(item)
        elif not known:
            known = True
            if qty:
                kept.append({**item, **told})
    if not known and qty:
        kept.append(told)
    return {**sheet, "inventory": kept}


def _conditions(sheet: JsonObject, data: JsonObject) -> JsonObject:
    return {**sheet, "conditions": data["conditions"]}


def _note(sheet: JsonObject, data: JsonObject) -> JsonObject:
    return {**sheet, "notes": [*_list(sheet, "notes"), data["note"]]}


def _part(sheet: JsonObject, data: JsonObject) -> JsonObject:
    changed: JsonObject = replaced(sheet, str(data["path"]).split("."), data["value"])
    return changed


def _stored(state: JsonObject, event: TableEvent) -> JsonObject:
    return {**state, **event.data, "status": "active"}


def _retired(state: JsonObject, event: TableEvent) -> JsonObject:
    return {**state, "sheet": {}, "status": "retired"}


def _list(sheet: JsonObject, key: str) -> list[Json]:
    value = sheet.get(key)
    return value if isinstance(value, list) else []


CHANGES: Final[dict[str, Change]] = {
    "hp.changed": _on_sheet(_hit_points),
    "xp.changed": _on_sheet(_experience),
    "inventory.changed": _on_sheet(_inventory),
    "conditions.changed": _on_sheet(_conditions),
    "notes.changed": _on_sheet(_note),
    "sheet.changed": _on_sheet(_part),
    "character.stored": _stored,
    "character.retired": _retired,
}
"""Changes by kind of event."""
