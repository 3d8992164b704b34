"""Dice at the table: public rolls, rolls for the game master, blind ones (who rolls does not see the result), and for oneself.

The ack holds the result only for one who may see it. An expression that nobody could roll is a bad argument. A throw without a
result is a refusal that is remembered: trying again would be another throw. Who rolls for a character owns it, or is a game
master.
"""

from __future__ import annotations

from typing import Any

from actors.dice import BadDice, DiceBox, NoResult, TooMuch
from actors.request import Request
from actors.rules import Accepted, Decision, Draft, Refused, refuse
from actors.session.state import DICE_BYTES_MAX, DICE_WINDOW, Decider, DiceRoll, Evolver, SessionState, trim_window
from actors.visibility import Views, shown
from undying.protocol.data import JsonObject
from undying.protocol.errors import Code
from undying.protocol.events import GMS, Event, View, Viewer
from undying.protocol.ops import bad_field
from undying.protocol.session_ops import RollDice

_DICE = DiceBox()  # holds nothing but parsed expressions: what it returns depends on its arguments alone


def _roll(state: SessionState, request: Request[RollDice]) -> Decision:
    args = request.args
    try:
        total, detail = _DICE.roll(args.expr, request.context.rng)
    except BadDice as problem:
        return Refused(bad_field("expr", str(problem)))
    except NoResult as problem:
        code = Code.LIMIT_EXCEEDED if isinstance(problem, TooMuch) else Code.WRONG_STATE
        return refuse(code, f"The dice have no result: {problem}.")
    if args.character is not None:
        if args.character not in state.characters:
            return refuse(Code.NOT_FOUND, "There is no such character at this table.", path="character")
        if not request.leads and not state.owns(request.user, args.character):
            return refuse(Code.FORBIDDEN, "That character is not yours.", path="character")
    views = _views(request.user, args.expr, total, detail, args.mode, args.label, args.character)
    result = shown(views, Viewer(request.user, request.role))
    return Accepted((Draft("dice.rolled", views),), dict(result or {}))


def _views(by: str, expr: str, total: int, detail: str, mode: str, label: str | None, character: str | None) -> Views:
    about: JsonObject = {"expr": expr, "mode": mode}
    if label is not None:
        about["label"] = label
    if character is not None:
        about["character"] = character
    whole: JsonObject = {**about, "total": total, "detail": detail}
    if mode == "public":
        return (View(None, whole),)
    if mode == "gm":
        return (View((by, GMS), whole),)
    if mode == "self":
        return (View((by,), whole),)
    return (View((GMS,), whole), View((by,), about))


def _rolled(state: SessionState, event: Event) -> None:
    data: dict[str, Any] = event.data
    roll = DiceRoll(
        event.by,
        event.at,
        data["expr"],
        data["total"],
        data["detail"],
        data["mode"],
        data.get("label"),
        data.get("character"),
    )
    state.dice.append(roll)
    state.dice_bytes = trim_window(state.dice, DICE_WINDOW, state.dice_bytes + roll.weight, DICE_BYTES_MAX)


def roll_views(roll: DiceRoll) -> Views:
    """Return a roll as the snapshot shows it: as its event did, with who rolled and when."""
    views = _views(roll.by, roll.expr, roll.total, roll.detail, roll.mode, roll.label, roll.character)
    return tuple(View(audience, {**data, "by": roll.by, "at": roll.at}) for audience, data in views)


DECIDERS: dict[str, Decider] = {"dice.roll": _roll}
EVOLVERS: dict[str, Evolver] = {"dice.rolled": _rolled}
