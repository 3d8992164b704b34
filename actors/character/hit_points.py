"""Hit points.

Damage takes temporary points first, then current ones, down to 0. Healing goes up to `max`, or without an end when no
maximum is kept (`max` 0); it never gives temporary points. `delta` in the event is what was dealt or healed as asked, not
what was left of it; for `hp.set` it is the change of the current points. The reason is for those who see the sheet.
"""

from __future__ import annotations

from typing import Any

from actors.character.state import CharacterState, views_of
from actors.request import Request
from actors.rules import Accepted, Decision, Draft, Refused, refuse
from undying.protocol.character_ops import ChangeHp, SetHp
from undying.protocol.data import JsonObject
from undying.protocol.errors import Code
from undying.protocol.events import Event
from undying.protocol.ops import bad_field
from undying.protocol.sheet import HP_MAX, HitPointsData


def change_hp(state: CharacterState, request: Request[ChangeHp]) -> Decision:
    """Decide on damage or healing."""
    hp, delta = state.sheet["hp"], request.args.delta
    current, temp = hp["current"], hp["temp"]
    if delta < 0:
        absorbed = min(temp, -delta)
        temp -= absorbed
        current = max(0, current + delta + absorbed)
    else:
        current = max(current, min(current + delta, hp["max"] or HP_MAX))
    return _changed(state, {"current": current, "max": hp["max"], "temp": temp}, delta, request.args.reason)


def set_hp(state: CharacterState, request: Request[SetHp]) -> Decision:
    """Decide on hit points as given; the value has to be within the maximum, that of the op or else that of the sheet."""
    args, hp = request.args, state.sheet["hp"]
    top = hp["max"] if args.max is None else args.max
    if top and args.value > top:
        return above_maximum(top) if args.max is None else Refused(bad_field("value", f"should be at most {top}"))
    temp = hp["temp"] if args.temp is None else args.temp
    return _changed(state, {"current": args.value, "max": top, "temp": temp}, args.value - hp["current"], None)


def above_maximum(top: int) -> Refused:
    """Refuse more hit points than the sheet's maximum."""
    return refuse(Code.LIMIT_EXCEEDED, f"The character has at most {top} hit points.", limit=top)


def _changed(state: CharacterState, hp: HitPointsData, delta: int, reason: str | None) -> Accepted:
    data: JsonObject = {"hp": hp["current"], "max": hp["max"], "temp": hp["temp"], "delta": delta}
    whole: JsonObject = data if reason is None else {**data, "reason": reason}
    return Accepted((Draft("hp.changed", views_of(state.owner, "hp", whole, data)),), dict(data))


def hp_changed(state: CharacterState, event: Event) -> None:
    """Take over new hit points."""
    data: dict[str, Any] = event.data
    state.sheet = {**state.sheet, "hp": {"current": data["hp"], "max": data["max"], "temp": data["temp"]}}
