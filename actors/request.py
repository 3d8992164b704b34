"""From an op to a request that a rule can decide about: its name is known, its arguments checked, its role allowed."""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

from actors.rules import Context, Op, Refused, refuse
from undying.protocol.errors import Code, Failure
from undying.protocol.fields import Args
from undying.protocol.ids import Kind, Role
from undying.protocol.ops import check, find_op, no_such_op

A = TypeVar("A", bound=Args)


class Request(NamedTuple, Generic[A]):
    """An op with checked arguments. `role` is the one that counts for this decision."""

    op: Op
    role: Role
    args: A
    context: Context

    @property
    def user(self) -> str:
        """Return who asks."""
        return self.op.user

    @property
    def leads(self) -> bool:
        """Tell whether who asks may do all that a game master may."""
        return self.role in (Role.GM, Role.SYSTEM)


def read_request(stream: Kind, op: Op, role: Role, context: Context) -> Request[Args] | Refused:
    """Check an op's name, role and arguments, in this order. Ops for the server only do not exist for anybody else."""
    spec = find_op(stream, op.kind)
    if isinstance(spec, Failure):
        return Refused(spec)
    if role is not Role.SYSTEM and role not in spec.roles:
        if spec.internal:
            return Refused(no_such_op(op.kind))
        return refuse(Code.FORBIDDEN, f"The role of {role.value} does not allow that.", op=op.kind, role=role.value)
    args = check(spec, op.args)
    if isinstance(args, Failure):
        return Refused(args)
    return Request(op, role, args, context)
