"""The characters of a table, and the saga that makes one.

    saga.started --character.store--> stored: character.created, character.seated, answer
                                      refused: saga.ended, answer SAGA_COMPENSATED
                                      nobody can tell, or stored, but its seat is gone: saga.compensating
    saga.compensating --character.retire--> saga.ended, answer SAGA_COMPENSATED

A table has room for so many seated characters, and knows more: those that were unseated. A player makes so many of their own.

A creation stays in the state, and its command in the outbox, until the answer to it is in the journal too; so a table that
dies half-way goes on from there. Saga events are for the table itself: no viewer gets them.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any, Final, cast

from actors.request import Request
from actors.rules import Accepted, Command, Decision, Refused, Settlement, private, public, refuse
from actors.session.state import (
    CHARACTERS_KNOWN_MAX,
    CHARACTERS_MAX,
    CHARACTERS_OWNER_MAX,
    CREATIONS_MAX,
    Creation,
    Decider,
    Evolver,
    Seat,
    SessionState,
)
from undying.protocol.data import JsonObject
from undying.protocol.effects import CloseStream, OpenStream
from undying.protocol.errors import Code, Failure
from undying.protocol.events import NOBODY, Event
from undying.protocol.ids import Kind, stream_name
from undying.protocol.session_ops import CreateCharacter, Replied, SeatCharacter
from undying.protocol.sheet import SheetData, excess, sheet_data

STORE = "store-"
RETIRE = "retire-"
"""How the keys of the saga's commands begin; the character's id follows."""

CAUSE_MAX: Final = 500
"""Characters of the message that says why a step failed."""


def _create(state: SessionState, request: Request[CreateCharacter]) -> Decision:
    args, owner = request.args, request.args.owner
    if not request.leads:
        if owner not in (None, request.user):
            return refuse(Code.FORBIDDEN, "A player's character is their own.", owner=owner)
        owner = request.user
    if owner is not None and owner not in state.members:
        return refuse(Code.NOT_FOUND, f"{owner} is not at this table.", user=owner)
    full = _no_room(state, len(state.creations))
    if full is not None:
        return Refused(full)
    if not request.leads and _count_of(state, request.user) >= CHARACTERS_OWNER_MAX:
        limit = CHARACTERS_OWNER_MAX
        return refuse(Code.LIMIT_EXCEEDED, f"A player makes at most {limit} characters.", limit=limit)
    sheet = sheet_data(args.sheet)
    oversized = excess(sheet)
    if oversized is not None:
        return Refused(oversized)
    if len(state.creations) >= CREATIONS_MAX:
        return refuse(Code.LIMIT_EXCEEDED, f"At most {CREATIONS_MAX} characters are made at a time.", limit=CREATIONS_MAX)
    character = request.context.new_id()
    data = {"character": character, "owner": owner, "sheet": sheet, "user": request.user, "op": request.op.id}
    return Accepted((private("saga.started", cast(JsonObject, data), NOBODY),), None, later=True)


def stored(state: SessionState, character: str, reply: Replied) -> Decision:
    """Decide what follows from the answer to `character.store`."""
    creation = state.creations[character]
    if not reply.ok:
        cause = reply.error if isinstance(reply.error, dict) else {}
        # Not heard: it may be stored all the same, by a try whose answer was lost.
        return _compensated(creation, "store", cause) if reply.heard else _compensating(character, "store", cause)
    refused = _why_no_seat(state, creation)
    if refused is not None:
        return _compensating(character, "seat", refused.to_wire())
    events = (
        public("character.created", _facts(character, creation.sheet["name"], creation.owner), creation.user),
        public("character.seated", _facts(character, creation.sheet["name"], creation.owner), creation.user),
    )
    settlement = Settlement(creation.user, creation.op, {"character": character})
    return Accepted(events, effects=(_open(character),), settles=(settlement,))


def retired(state: SessionState, character: str) -> Decision:
    """Decide what follows from the answer to `character.retire`: whatever it was, nothing leads to that character."""
    creation = state.creations[character]
    cause = creation.cause or {}
    return _compensated(creation, str(cause.get("step", "seat")), cause)


def _why_no_seat(state: SessionState, creation: Creation) -> Failure | None:
    if creation.owner is not None and creation.owner not in state.members:
        return Failure(Code.NOT_FOUND, "The owner left the table.", {"user": creation.owner})
    return _no_room(state, 0)


def _no_room(state: SessionState, under_way: int) -> Failure | None:
    """Return why no character can come to the table besides `under_way` others, None when one can."""
    seated = sum(seat.seated for seat in state.characters.values())
    if seated + under_way >= CHARACTERS_MAX:
        limit = CHARACTERS_MAX
        return Failure(Code.LIMIT_EXCEEDED, f"A table seats at most {limit} characters.", {"limit": limit})
    if len(state.characters) + under_way >= CHARACTERS_KNOWN_MAX:
        limit = CHARACTERS_KNOWN_MAX
        return Failure(Code.LIMIT_EXCEEDED, f"A table knows at most {limit} characters.", {"limit": limit})
    return None


def _count_of(state: SessionState, owner: str) -> int:
    owners = [*(seat.owner for seat in state.characters.values()), *(each.owner for each in state.creations.values())]
    return owners.count(owner)


def _compensating(character: str, step: str, cause: JsonObject) -> Accepted:
    data: JsonObject = {"character": character, "cause": {**cause, "step": step}}
    return Accepted((private("saga.compensating", data, NOBODY),))


def _compensated(creation: Creation, step: str, cause: JsonObject) -> Accepted:
    told = Failure.from_wire(cause)
    failure = Failure(
        Code.SAGA_COMPENSATED,
        "The character could not be made; nothing of it is at the table.",
        {"step": step, "cause": {"code": told.code.value, "message": told.message[:CAUSE_MAX]}},
    )
    ended = private("saga.ended", {"character": creation.character}, NOBODY)
    return Accepted((ended,), settles=(Settlement(creation.user, creation.op, failure=failure),))


def _seat(state: SessionState, request: Request[SeatCharacter]) -> Decision:
    character = request.args.character
    seat = state.characters.get(character)
    if seat is None:
        return refuse(Code.NOT_FOUND, "There is no such character at this table.", character=character)
    if seat.seated:
        return Accepted((), {})
    if sum(other.seated for other in state.characters.values()) >= CHARACTERS_MAX:
        return refuse(Code.LIMIT_EXCEEDED, f"A table seats at most {CHARACTERS_MAX} characters.", limit=CHARACTERS_MAX)
    return Accepted((public("character.seated", _facts(character, seat.name, seat.owner)),), {}, (_open(character),))


def _unseat(state: SessionState, request: Request[SeatCharacter]) -> Decision:
    character = request.args.character
    seat = state.characters.get(character)
    if seat is None or not seat.seated:
        return refuse(Code.NOT_FOUND, "There is no such character at this table.", character=character)
    effect = CloseStream("close", stream_name(Kind.CHARACTER, character), "unseated")
    return Accepted((public("character.unseated", {"character": character}),), {}, (effect,))


def _open(character: str) -> OpenStream:
    return OpenStream("open", stream_name(Kind.CHARACTER, character), None)


def _facts(character: str, name: str, owner: str | None) -> JsonObject:
    return {"character": character, "name": name, "owner": owner}


def commands(state: SessionState) -> dict[str, Command]:
    """Return what the sagas under way want of their characters."""
    out: dict[str, Command] = {}
    for character, creation in state.creations.items():
        to = stream_name(Kind.CHARACTER, character)
        if creation.cause is None:
            sheet = cast(JsonObject, creation.sheet)
            args: JsonObject = {"sheet": sheet, "owner": creation.owner, "session": state.id}
            out[STORE + character] = Command(to, "character.store", args, create=True)
        else:
            out[RETIRE + character] = Command(to, "character.retire", {"reason": "no seat"})
    return out


def seats_data(state: SessionState) -> JsonObject:
    """Return the characters of the table for the snapshot: `{id: {name, owner, seated}}`."""
    return {
        character: {"name": seat.name, "owner": seat.owner, "seated": seat.seated}
        for character, seat in state.characters.items()
    }


def _evolve_started(state: SessionState, event: Event) -> None:
    data: dict[str, Any] = event.data
    sheet = cast(SheetData, deepcopy(data["sheet"]))
    state.creations[data["character"]] = Creation(data["character"], data["owner"], sheet, data["user"], data["op"])


def _evolve_compensating(state: SessionState, event: Event) -> None:
    data: dict[str, Any] = event.data
    creation = state.creations.get(data["character"])
    if creation is not None:
        creation.cause = dict(data["cause"])


def _evolve_ended(state: SessionState, event: Event) -> None:
    state.creations.pop(cast(str, event.data["character"]), None)


def _evolve_created(state: SessionState, event: Event) -> None:
    data: dict[str, Any] = event.data
    state.creations.pop(data["character"], None)
    state.characters[data["character"]] = Seat(data["name"], data["owner"], seated=False)


def _evolve_seated(state: SessionState, event: Event) -> None:
    data: dict[str, Any] = event.data
    state.characters[data["character"]] = Seat(data["name"], data["owner"], seated=True)


def _evolve_unseated(state: SessionState, event: Event) -> None:
    seat = state.characters.get(cast(str, event.data["character"]))
    if seat is not None:
        seat.seated = False


DECIDERS: dict[str, Decider] = {"character.create": _create, "character.seat": _seat, "character.unseat": _unseat}
EVOLVERS: dict[str, Evolver] = {
    "saga.started": _evolve_started,
    "saga.compensating": _evolve_compensating,
    "saga.ended": _evolve_ended,
    "character.created": _evolve_created,
    "character.seated": _evolve_seated,
    "character.unseated": _evolve_unseated,
}
