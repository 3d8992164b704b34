"""A character's rules: made by its session's saga, changed by its owner and the game masters, seen in part by the table.

The role in an op is the one that the gateway took from the session. A character that was retired takes no op any more and
shows nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

from pydantic import TypeAdapter

from actors.character import belongings, hit_points, sheet_paths
from actors.character.state import CharacterState, sheet_views
from actors.request import Request, read_request
from actors.rules import Accepted, Command, Context, Decision, Draft, Op, Refused, public, refuse
from actors.visibility import shown
from undying.protocol.character_ops import RetireCharacter, StoreCharacter
from undying.protocol.data import JsonObject
from undying.protocol.errors import Code
from undying.protocol.events import Event, Viewer
from undying.protocol.ids import Kind, Role
from undying.protocol.sheet import excess, sheet_data

Decider = Callable[[CharacterState, Request[Any]], Decision]
Evolver = Callable[[CharacterState, Event], None]


def _store(state: CharacterState, request: Request[StoreCharacter]) -> Decision:
    if state.status:
        return refuse(Code.ALREADY_EXISTS, "There is a character of that id.", id=state.id)
    args = request.args
    sheet = sheet_data(args.sheet)
    oversized = excess(sheet)
    if oversized is not None:
        return Refused(oversized)
    views = sheet_views(state.id, args.owner, sheet)
    whole = views[0]._replace(data={**views[0].data, "session": args.session})
    return Accepted((Draft("character.stored", (whole, *views[1:])),), {"character": state.id})


def _retire(state: CharacterState, request: Request[RetireCharacter]) -> Decision:
    return Accepted((public("character.retired", {"reason": request.args.reason}),), {})


def _stored(state: CharacterState, event: Event) -> None:
    data: dict[str, Any] = event.data
    state.status, state.owner, state.session = "active", data["owner"], data["session"]
    state.sheet = data["sheet"]


def _retired(state: CharacterState, event: Event) -> None:
    state.status = "retired"


_DECIDERS: Final[dict[str, Decider]] = {
    "character.store": _store,
    "character.retire": _retire,
    "hp.change": hit_points.change_hp,
    "hp.set": hit_points.set_hp,
    "xp.award": belongings.award_xp,
    "item.add": belongings.add_item,
    "item.remove": belongings.remove_item,
    "condition.add": belongings.add_condition,
    "condition.remove": belongings.remove_condition,
    "note.append": belongings.append_note,
    "sheet.set": sheet_paths.set_sheet,
}
_EVOLVERS: Final[dict[str, Evolver]] = {
    "character.stored": _stored,
    "character.retired": _retired,
    "hp.changed": hit_points.hp_changed,
    "xp.changed": belongings.xp_changed,
    "inventory.changed": belongings.inventory_changed,
    "conditions.changed": belongings.conditions_changed,
    "notes.changed": belongings.notes_changed,
    "sheet.changed": sheet_paths.sheet_changed,
}
_STATE: Final = TypeAdapter(CharacterState)


class CharacterRules:
    """The rules of a character (`actors.rules.Rules`)."""

    kind: Kind = Kind.CHARACTER
    schema: int = 1

    def initial(self, entity_id: str) -> CharacterState:
        """Return a character that was not made yet."""
        return CharacterState(entity_id)

    def exists(self, state: CharacterState) -> bool:
        """Tell whether the character was made."""
        return state.status != ""

    def decide(self, state: CharacterState, op: Op, context: Context) -> Decision:
        """Decide for its owner, a game master, or the server."""
        if state.status != "active" and op.kind != "character.store":
            if state.status == "retired" and op.kind == "character.retire" and op.role is Role.SYSTEM:
                return Accepted((), {})  # undone before; the answer was lost
            return refuse(Code.NOT_FOUND, "There is no such character.")
        request = read_request(Kind.CHARACTER, op, op.role, context)
        if isinstance(request, Refused):
            return request
        if not request.leads and op.user != state.owner:
            return refuse(Code.FORBIDDEN, "That character is not yours.")
        return _DECIDERS[op.kind](state, request)

    def evolve(self, state: CharacterState, event: Event) -> None:
        """Change the state by an event; kinds without a meaning for it (a claim) change nothing."""
        evolver = _EVOLVERS.get(event.kind)
        if evolver is not None:
            evolver(state, event)

    def project(self, state: CharacterState, viewer: Viewer) -> JsonObject:
        """Return `{id, owner, sheet, status}` with as much of the sheet as the viewer may see."""
        data: JsonObject = {"id": state.id, "owner": state.owner, "sheet": {}}
        if state.status == "active":
            data = shown(sheet_views(state.id, state.owner, state.sheet), viewer) or data
        return {**data, "status": state.status}

    def viewer_class(self, state: CharacterState, viewer: Viewer) -> str:
        """Name who sees the whole sheet, and who a part."""
        return "keeper" if viewer.role is Role.GM or viewer.user == state.owner else "table"

    def streams(self, state: CharacterState, viewer: Viewer) -> Sequence[str]:
        """Return none: a character leads to no other stream."""
        return ()

    def outbox(self, state: CharacterState) -> Mapping[str, Command]:
        """Return none: a character wants nothing of others."""
        return {}

    def dump(self, state: CharacterState) -> JsonObject:
        """Return the state as plain data."""
        return cast(JsonObject, _STATE.dump_python(state, mode="json"))

    def load(self, data: JsonObject) -> CharacterState:
        """Return the state that `dump` made the data of. Raises ValueError."""
        return _STATE.validate_python(data)
