"""Experience, inventory, conditions and notes of a character.

Items are counted by name; `inventory.changed` tells of one name: how many there are now (0: none is left), the change `delta`,
and what else was said of the item, which goes over what it had. `conditions.changed` carries all conditions. Taking away what
is not there is refused.
"""

from __future__ import annotations

from typing import Any, cast

from actors.character.state import CharacterState, views_of
from actors.request import Request
from actors.rules import Accepted, Decision, Draft, Refused, refuse
from undying.protocol.character_ops import AddCondition, AddItem, AppendSheetNote, AwardXp, RemoveCondition, RemoveItem
from undying.protocol.data import JsonObject
from undying.protocol.errors import Code, Failure
from undying.protocol.events import Event
from undying.protocol.sheet import (
    CONDITIONS_MAX,
    ITEMS_MAX,
    NOTES_MAX,
    QTY_MAX,
    XP_MAX,
    ConditionData,
    ItemData,
    SheetData,
    SheetNoteData,
    excess,
)
from undying.protocol.sheet_parts import overflow


def award_xp(state: CharacterState, request: Request[AwardXp]) -> Decision:
    """Decide on experience; it never falls below 0."""
    before = state.sheet["xp"]
    xp = max(0, before + request.args.amount)
    if xp > XP_MAX:
        return refuse(Code.LIMIT_EXCEEDED, f"A character has at most {XP_MAX} experience points.", limit=XP_MAX)
    data: JsonObject = {"xp": xp, "delta": xp - before}
    return Accepted((Draft("xp.changed", views_of(state.owner, "xp", data)),), {"xp": xp})


def add_item(state: CharacterState, request: Request[AddItem]) -> Decision:
    """Decide on more of an item, and on what else is said of it."""
    name, qty = request.args.name, request.args.qty
    before = _count(state, name)
    if before + qty > QTY_MAX:
        return refuse(Code.LIMIT_EXCEEDED, f"At most {QTY_MAX} of an item.", limit=QTY_MAX)
    if not before and len(state.sheet["inventory"]) >= ITEMS_MAX:
        return refuse(Code.LIMIT_EXCEEDED, f"An inventory holds at most {ITEMS_MAX} different items.", limit=ITEMS_MAX)
    data: JsonObject = {**request.args.more, "name": name, "qty": before + qty, "delta": qty}
    oversized = _excess_with(state, data) if request.args.more or not before else None
    if oversized is not None:
        return Refused(oversized)
    return _stocked(state, data)


def remove_item(state: CharacterState, request: Request[RemoveItem]) -> Decision:
    """Decide on less of an item."""
    name, qty = request.args.name, request.args.qty
    before = _count(state, name)
    if before == 0:
        return refuse(Code.NOT_FOUND, "There is no such item in the inventory.", path="name")
    if before < qty:
        return refuse(Code.WRONG_STATE, f"There are only {before}.", qty=before)
    return _stocked(state, {"name": name, "qty": before - qty, "delta": -qty})


def add_condition(state: CharacterState, request: Request[AddCondition]) -> Decision:
    """Decide on a condition; one of the same name is replaced."""
    args = request.args
    others = [condition for condition in state.sheet["conditions"] if condition["name"] != args.name]
    if len(others) >= CONDITIONS_MAX:
        return refuse(Code.LIMIT_EXCEEDED, f"A character has at most {CONDITIONS_MAX} conditions.", limit=CONDITIONS_MAX)
    conditions: list[ConditionData] = [*others, {"name": args.name, "source": args.source, "rounds": args.rounds}]
    oversized = excess({**state.sheet, "conditions": conditions})
    if oversized is not None:
        return Refused(oversized)
    return _under(state, conditions)


def remove_condition(state: CharacterState, request: Request[RemoveCondition]) -> Decision:
    """Decide on the end of a condition."""
    before = state.sheet["conditions"]
    after = [condition for condition in before if condition["name"] != request.args.name]
    if len(after) == len(before):
        return refuse(Code.NOT_FOUND, "The character is not under that condition.", path="name")
    return _under(state, after)


def append_note(state: CharacterState, request: Request[AppendSheetNote]) -> Decision:
    """Decide on a note."""
    if len(state.sheet["notes"]) >= NOTES_MAX:
        return refuse(Code.LIMIT_EXCEEDED, f"A sheet holds at most {NOTES_MAX} notes.", limit=NOTES_MAX)
    note: SheetNoteData = {"text": request.args.text, "at": request.context.now_ms, "by": request.user}
    oversized = excess({**state.sheet, "notes": [*state.sheet["notes"], note]})
    if oversized is not None:
        return Refused(oversized)
    return Accepted((Draft("notes.changed", views_of(state.owner, "notes", cast(JsonObject, {"note": note}))),), {})


def _count(state: CharacterState, name: str) -> int:
    return sum(item["qty"] for item in state.sheet["inventory"] if item["name"] == name)


def _excess_with(state: CharacterState, data: JsonObject) -> Failure | None:
    """Return why an item as it would be, or the sheet with it, is too large, None when neither is."""
    inventory = _restocked(state.sheet["inventory"], data)
    sheet: SheetData = {**state.sheet, "inventory": inventory}
    at = next(at for at, item in enumerate(inventory) if item["name"] == data["name"])
    return overflow(sheet, ["inventory", str(at)]) or excess(sheet)


def _stocked(state: CharacterState, data: JsonObject) -> Accepted:
    return Accepted((Draft("inventory.changed", views_of(state.owner, "inventory", data)),), {"qty": data["qty"]})


def _under(state: CharacterState, conditions: list[ConditionData]) -> Accepted:
    data = cast(JsonObject, {"conditions": conditions})
    return Accepted((Draft("conditions.changed", views_of(state.owner, "conditions", data)),), {})


def xp_changed(state: CharacterState, event: Event) -> None:
    """Take over experience."""
    state.sheet = {**state.sheet, "xp": cast(int, event.data["xp"])}


def inventory_changed(state: CharacterState, event: Event) -> None:
    """Take over how many there are of an item, and what was said of it."""
    state.sheet = {**state.sheet, "inventory": _restocked(state.sheet["inventory"], event.data)}


def _restocked(inventory: list[ItemData], data: dict[str, Any]) -> list[ItemData]:
    """Return an inventory after `inventory.changed`. Several entries of one name become the first of them."""
    told = {key: value for key, value in data.items() if key != "delta"}
    kept: list[ItemData] = []
    known = False
    for item in inventory:
        if item["name"] != told["name"]:
            kept.append(item)
        elif not known:
            known = True
            kept += [cast(ItemData, {**item, **told})] if told["qty"] else []
    if not known and told["qty"]:
        kept.append(cast(ItemData, told))
    return kept


def conditions_changed(state: CharacterState, event: Event) -> None:
    """Take over all conditions."""
    state.sheet = {**state.sheet, "conditions": cast(list[ConditionData], event.data["conditions"])}


def notes_changed(state: CharacterState, event: Event) -> None:
    """Take over a note."""
    state.sheet = {**state.sheet, "notes": [*state.sheet["notes"], cast(SheetNoteData, event.data["note"])]}
