"""Who is at the table, in which role.

A token brings a user to the table once; from then on the role is the table's to change, and wins over what a token says.
A removed user stays out with every token made up to that millisecond; a newer invitation lets them in again, and the older
ones stay void. Their notes for named users go with them. A table that has a game master never loses the last one. Who joins
is told with their role whether the table is paused.
"""

from __future__ import annotations

from typing import Any, cast

from actors.request import Request
from actors.rules import Accepted, Decision, Draft, Refused, public, refuse
from actors.session.notes import left_behind
from actors.session.state import MEMBERS_MAX, REMOVED_MAX, Decider, Evolver, Member, SessionState
from undying.protocol.data import JsonObject
from undying.protocol.effects import ChangeRole, Remove
from undying.protocol.errors import Code
from undying.protocol.events import Event
from undying.protocol.ids import Role
from undying.protocol.session_ops import JoinMember, RemoveMember, SetRole


def _join(state: SessionState, request: Request[JoinMember]) -> Decision:
    args = request.args
    removed_at = state.removed.get(args.user)
    if removed_at is not None and args.issued <= removed_at:
        return removed()
    known = state.members.get(args.user)
    if known is not None:
        result = _welcome(state, args.name, known.role)
        if known.name == args.name:
            return Accepted((), result, repeatable=True)
        return Accepted((_member(args.user, args.name, known.role),), result, repeatable=True)
    if len(state.members) >= MEMBERS_MAX:
        return refuse(Code.LIMIT_EXCEEDED, f"A table has at most {MEMBERS_MAX} members.", limit=MEMBERS_MAX)
    result = _welcome(state, args.name, args.role)
    return Accepted((_member(args.user, args.name, args.role),), result, repeatable=True)


def _set_role(state: SessionState, request: Request[SetRole]) -> Decision:
    user, role = request.args.user, request.args.role
    member = state.members.get(user)
    if member is None:
        return _no_member(user)
    if member.role is role:
        return Accepted((), {})
    if _is_last_gm(state, member):
        return _last_gm()
    return Accepted((_member(user, member.name, role),), {}, (ChangeRole("role", user, role.value),))


def _remove(state: SessionState, request: Request[RemoveMember]) -> Decision:
    user = request.args.user
    member = state.members.get(user)
    if member is None:
        return _no_member(user)
    if _is_last_gm(state, member):
        return _last_gm()
    if user not in state.removed and len(state.removed) >= REMOVED_MAX:
        return refuse(Code.LIMIT_EXCEEDED, f"A table remembers at most {REMOVED_MAX} removed users.", limit=REMOVED_MAX)
    events = (public("member.removed", {"user": user}), *left_behind(state, user))
    return Accepted(events, {}, (Remove("remove", user),))


def removed() -> Refused:
    """Refuse what a removed user asks."""
    return refuse(Code.REMOVED, "The game master removed you from this table.")


def _welcome(state: SessionState, name: str, role: Role) -> JsonObject:
    return {"name": name, "role": role.value, "paused": state.status == "paused"}


def _member(user: str, name: str, role: Role) -> Draft:
    return public("member.changed", {"user": user, "name": name, "role": role.value})


def _is_last_gm(state: SessionState, member: Member) -> bool:
    return member.role is Role.GM and sum(other.role is Role.GM for other in state.members.values()) == 1


def _last_gm() -> Refused:
    return refuse(Code.WRONG_STATE, "The table would be left without a game master.")


def _no_member(user: str) -> Refused:
    return refuse(Code.NOT_FOUND, f"{user} is not at this table.", user=user)


def _evolve_changed(state: SessionState, event: Event) -> None:
    data: dict[str, Any] = event.data
    state.members[data["user"]] = Member(data["name"], Role(data["role"]))


def _evolve_removed(state: SessionState, event: Event) -> None:
    user = cast(str, event.data["user"])
    state.members.pop(user, None)
    state.removed[user] = event.at


DECIDERS: dict[str, Decider] = {"member.join": _join, "member.set_role": _set_role, "member.remove": _remove}
EVOLVERS: dict[str, Evolver] = {"member.changed": _evolve_changed, "member.removed": _evolve_removed}
