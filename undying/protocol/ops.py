"""The table of all ops: what they are called, who may ask them of which kind of entity, and with what arguments.

`parse_args` is the one border between what a client sent and what rules decide about. It is on the hot path: one pass of
a compiled validator, and no copy of what it made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from undying.protocol import character_ops as character
from undying.protocol import session_ops as session
from undying.protocol.errors import Code, Failure
from undying.protocol.fields import Args
from undying.protocol.ids import Kind, Role

_G: Final = frozenset({Role.GM})
_GP: Final = frozenset({Role.GM, Role.PLAYER})
_GPA: Final = frozenset({Role.GM, Role.PLAYER, Role.AGENT})
_NO_CLIENT: Final[frozenset[Role]] = frozenset()

_PATH_MAX: Final = 200
_ECHO_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class OpSpec:
    """One op. `roles` are those of members who may ask it (the server itself always may; none: only the server).

    `own`: who is no game master may do it to what is theirs only.
    """

    kind: str
    stream: Kind
    args: type[Args]
    roles: frozenset[Role]
    meaning: str
    own: bool = False
    creates: bool = False

    @property
    def internal(self) -> bool:
        """Tell whether no client may ask it."""
        return not self.roles


def _session(
    kind: str, args: type[Args], roles: frozenset[Role], meaning: str, *, own: bool = False, creates: bool = False
) -> OpSpec:
    return OpSpec(kind, Kind.SESSION, args, roles, meaning, own, creates)


def _character(kind: str, args: type[Args], roles: frozenset[Role], meaning: str, *, creates: bool = False) -> OpSpec:
    return OpSpec(kind, Kind.CHARACTER, args, roles, meaning, Role.PLAYER in roles, creates)


def _provider(kind: str, args: type[Args], meaning: str) -> OpSpec:
    return OpSpec(kind, Kind.PROVIDER, args, _NO_CLIENT, meaning, creates=True)


_SPECS: Final = (
    _session("chat.say", session.Say, _GPA, "Say something, to all or as a whisper."),
    _session("dice.roll", session.RollDice, _GPA, "Roll dice."),
    _session("combat.start", session.NoArgs, _G, "Begin a fight with round 1 and the first of the order."),
    _session("combat.end", session.NoArgs, _G, "End the fight; the order stays."),
    _session("initiative.set", session.SetInitiative, _G, "Replace the order."),
    _session("initiative.add", session.AddInitiative, _GP, "Put one into the order.", own=True),
    _session("initiative.remove", session.RemoveInitiative, _GP, "Take one out of the order.", own=True),
    _session("initiative.next", session.NoArgs, _GP, "End the turn.", own=True),
    _session("initiative.prev", session.NoArgs, _G, "Go back one turn."),
    _session("note.put", session.PutNote, _GPA, "Write a note."),
    _session("note.append", session.AppendNote, _GPA, "Add to a note."),
    _session("note.delete", session.DeleteNote, _GPA, "Throw a note away."),
    _session("map.set", session.SetMap, _G, "Lay out a scene."),
    _session("token.put", session.PutToken, _GP, "Put a token on the map.", own=True),
    _session("token.move", session.MoveToken, _GP, "Move a token.", own=True),
    _session("token.remove", session.RemoveToken, _GP, "Take a token off the map.", own=True),
    _session("character.create", session.CreateCharacter, _GP, "Make a character and seat it."),
    _session("character.seat", session.SeatCharacter, _G, "Bring a character of this table back to it."),
    _session("character.unseat", session.SeatCharacter, _G, "Send a character from the table."),
    _session("member.set_role", session.SetRole, _G, "Give a member another role."),
    _session("member.remove", session.RemoveMember, _G, "Send a member from the table."),
    _session("ai.ask", session.AskAi, _GPA, "Ask an AI provider."),
    _session("session.rename", session.Rename, _G, "Rename the table."),
    _session("session.pause", session.NoArgs, _G, "Pause: only game masters act."),
    _session("session.resume", session.NoArgs, _G, "Go on."),
    _session("session.create", session.CreateSession, _NO_CLIENT, "Make the table.", creates=True),
    _session("member.join", session.JoinMember, _NO_CLIENT, "Let in a member whose token was checked."),
    _session("@replied", session.Replied, _NO_CLIENT, "Learn what became of a command."),
    _character("hp.change", character.ChangeHp, _GPA, "Damage or heal."),
    _character("hp.set", character.SetHp, _GPA, "Set hit points."),
    _character("xp.award", character.AwardXp, _G, "Award experience."),
    _character("item.add", character.AddItem, _GPA, "Put something into the inventory."),
    _character("item.remove", character.RemoveItem, _GPA, "Take something out of the inventory."),
    _character("condition.add", character.AddCondition, _GPA, "Put the character under a condition."),
    _character("condition.remove", character.RemoveCondition, _GPA, "End a condition."),
    _character("note.append", character.AppendSheetNote, _GPA, "Write a note on the sheet."),
    _character("sheet.set", character.SetSheet, _GPA, "Set any part of the sheet."),
    _character("character.store", character.StoreCharacter, _NO_CLIENT, "Make the character.", creates=True),
    _character("character.retire", character.RetireCharacter, _NO_CLIENT, "Undo the making of the character."),
    _provider("provider.configure", session.NoArgs, "Make the provider."),
    _provider("ask", character.AskProvider, "Answer a question."),
)

OPS: Final[dict[tuple[Kind, str], OpSpec]] = {(spec.stream, spec.kind): spec for spec in _SPECS}
"""All ops by the kind of entity that takes them and their name."""


def find_op(stream: Kind, kind: str) -> OpSpec | Failure:
    """Return what is known of an op, or the failure that says that there is none of that name."""
    spec = OPS.get((stream, kind))
    if spec is None:
        return no_such_op(kind)
    return spec


def no_such_op(kind: str) -> Failure:
    """Return the failure that says that there is no op of that name."""
    return Failure(Code.BAD_OP, "There is no such op on this stream.", {"op": _printable(kind, _ECHO_MAX)})


def parse_args(stream: Kind, kind: str, args: object) -> Args | Failure:
    """Check the arguments of an op. Returns their model, or BAD_OP or BAD_ARGS with the path of the first bad field."""
    spec = OPS.get((stream, kind))
    if spec is None:
        return no_such_op(kind)
    return check(spec, args)


def check(spec: OpSpec, args: object) -> Args | Failure:
    """Check the arguments of a known op."""
    try:
        return spec.args.model_validate(args)
    except ValidationError as problem:
        return bad_args(problem)


def bad_args(problem: ValidationError, argument: str = "", below: tuple[str, ...] = ()) -> Failure:
    """Turn a validator's complaint into a failure: the first bad field's path and why, no values.

    When what was checked is a larger thing that has one argument's value at the path `below`, the path starts with that
    argument instead.
    """
    first = problem.errors(include_url=False, include_context=False, include_input=False)[0]
    path = tuple(str(part) for part in first["loc"])
    if argument:
        path = (argument, *(path[len(below) :] if path[: len(below)] == below else ()))
    return bad_field(".".join(path), first["msg"].removeprefix("Value error, "))


def bad_field(path: str, reason: str) -> Failure:
    """Return the failure that says what is wrong with one argument. Field names that a client made up are cut short."""
    shown = _printable(path, _PATH_MAX)
    where = f"The argument {shown}" if shown else "The arguments"
    return Failure(Code.BAD_ARGS, f"{where}: {reason}.", {"path": shown, "reason": reason})


def _printable(text: str, limit: int) -> str:
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    return cut.encode(errors="replace").decode()
