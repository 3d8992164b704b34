"""Experience, inventory, conditions and notes of a character.

Items are counted by name; `inventory.changed` tells of one name: how many there are now (0: none is left) and the change.
`conditions.changed` carries all conditions. Taking away what is not there is refused.
"""

from __future__ import annotations

from typing import Any, cast

from actors.character.state import CharacterState, views_of
from actors.request import Request
from actors.rules import Accepted, Decision, Draft, Refused, refuse
from undying.protocol.character_ops import AddCondition, AppendSheetNote, AwardXp, ChangeItem, RemoveCondition
from undying.protocol.data import JsonObject
from undying.protocol.errors import Code
from undying.protocol.events import Event
from undying.protocol.sheet import (
    CONDITIONS_MAX,
    ITEMS_MAX,
    NOTES_MAX,
    QTY_MAX,
    XP_MAX,
    ConditionData,
    ItemData,
    SheetNoteData,
    excess,
)


def award_xp(state: CharacterState, request: Request[AwardXp]) -> Decision:
    """Decide on experience; it never falls below 0."""
    before = state.sheet["xp"]
    xp = max(0, before + request.args.amount)
    if xp > XP_MAX:
        return refuse(Code.LIMIT_EXCEEDED, f"A character has at most {XP_MAX} experience points.", limit=XP_MAX)
    data: JsonObject = {"xp": xp, "delta": xp - before}
    return Accepted((Draft("xp.changed", views_of(state.owner, "xp", data)),), {"xp": xp})


def add_item(state: CharacterState, request: Request[ChangeItem]) -> Decision:
    """Decide on more of an item."""
    name, qty = request.args.name, request.args.qty
    before = _count(state, name)
    if before + qty > QTY_MAX:
        return refuse(Code.LIMIT_EXCEEDED, f"At most {QTY_MAX} of an item.", limit=QTY_MAX)
    if not before and len(state.sheet["inventory"]) >= ITEMS_MAX:
        return refuse(Code.LIMIT_EXCEEDED, f"An inventory holds at most {ITEMS_MAX} different items.", limit=ITEMS_MAX)
    oversized = None if before else excess({**state.sheet, "inventory": [*state.sheet["inventory"], _item(name, qty)]})
    if oversized is not None:
        return Refused(oversized)
    return _stocked(state, name, before + qty, qty)


def remove_item(state: CharacterState, request: Request[ChangeItem]) -> Decision:
    """Decide on less of an item."""
    name, qty = request.args.name, request.args.qty
    before = _count(state, name)
    if before == 0:
        return refuse(Code.NOT_FOUND, "There is no such item in the inventory.")
    if before < qty:
        return refuse(Code.WRONG_STATE, f"There are only {before}.", qty=before)
    return _stocked(state, name, before - qty, -qty)


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
        return refuse(Code.NOT_FOUND, "The character is not under that condition.")
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


def _item(name: str, qty: int) -> ItemData:
    return {"name": name, "qty": qty, "attributes": {}}


def _count(state: CharacterState, name: str) -> int:
    return sum(item["qty"] for item in state.sheet["inventory"] if item["name"] == name)


def _stocked(state: CharacterState, name: str, qty: int, delta: int) -> Accepted:
    data: JsonObject = {"name": name, "qty": qty, "delta": delta}
    return Accepted((Draft("inventory.changed", views_of(state.owner, "inventory", data)),), {"qty": qty})


def _under(state: CharacterState, conditions: list[ConditionData]) -> Accepted:
    data = cast(JsonObject, {"conditions": conditions})
    return Accepted((Draft("conditions.changed", views_of(state.owner, "conditions", data)),), {})


def xp_changed(state: CharacterState, event: Event) -> None:
    """Take over experience."""
    state.sheet = {**state.sheet, "xp": cast(int, event.data["xp"])}


def inventory_changed(state: CharacterState, event: Event) -> None:
    """Take over how many there are of an item. Several entries of one name become the first of them."""
    data: dict[str, Any] = event.data
    name, qty = data["name"], data["qty"]
    kept: list[ItemData] = []
    known = False
    for item in state.sheet["inventory"]:
        if item["name"] != name:
            kept.append(item)
        elif not known:
            known = True
            kept += [{**item, "qty": qty}] if qty else []
    if not known and qty:
        kept.append(_item(name, qty))
    state.sheet = {**state.sheet, "inventory": kept}


def conditions_changed(state: CharacterState, event: Event) -> None:
    """Take over all conditions."""
    state.sheet = {**state.sheet, "conditions": cast(list[ConditionData], event.data["conditions"])}


def notes_changed(state: CharacterState, event: Event) -> None:
    """Take over a note."""
    state.sheet = {**state.sheet, "notes": [*state.sheet["notes"], cast(SheetNoteData, event.data["note"])]}
