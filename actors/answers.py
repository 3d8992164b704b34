"""The answers an entity has given, by user and op id: what makes a retry harmless.

Answers are part of the state: each is in the journal entry of the commit that made it true, and all are in every
checkpoint. An answer without events (a refusal, or an op that changed nothing) goes into the *next* entry. That is
enough: such an answer could only turn out differently after the state changed, and any change is an entry.

Bounds: `PER_USER` answers for each user, `USERS` users, the longest unused forgotten first; an answer that is still to
come (`pending`) is never forgotten, nor is the one just given. A user may therefore have at most `PER_USER` ops without
an answer on one stream; a gateway holds each to less (`gateway.connection.OPS_MAX` times `gateway.hub.SEATS_MAX`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import msgpack

from undying.protocol.data import JsonObject
from undying.protocol.position import NOWHERE, Position

PER_USER = 512
USERS = 512


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of an op. `position` is that of its last event, NOWHERE when it was refused."""

    position: Position = NOWHERE
    result: JsonObject | None = None
    error: JsonObject | None = None
    pending: bool = False


Record = tuple[str, str, int, int, JsonObject | None, JsonObject | None, bool]
"""An answer as stored: user, op id, epoch, seq, result, error object, pending."""


def record_of(user: str, op_id: str, answer: Answer) -> Record:
    """Return the stored form of an answer."""
    epoch, seq = answer.position
    return (user, op_id, epoch, seq, answer.result, answer.error, answer.pending)


def pack_records(records: Iterable[Record]) -> bytes:
    """Encode records; none are no bytes."""
    listed = list(records)
    return cast(bytes, msgpack.packb(listed)) if listed else b""


def unpack_records(data: bytes) -> list[Record]:
    """Decode records."""
    return [cast(Record, tuple(raw)) for raw in msgpack.unpackb(data)] if data else []


class Answers:
    """A bounded memory of answers."""

    def __init__(self, per_user: int = PER_USER, users: int = USERS) -> None:
        self._per_user = per_user
        self._users_max = users
        self._users: OrderedDict[str, OrderedDict[str, Answer]] = OrderedDict()

    def get(self, user: str, op_id: str) -> Answer | None:
        """Return the answer given to that op, None when it is new (or forgotten)."""
        given = self._users.get(user)
        return None if given is None else given.get(op_id)

    def put(self, user: str, op_id: str, answer: Answer) -> None:
        """Remember an answer, in the place of a pending one if there is one."""
        given = self._users.get(user)
        if given is None:
            given = self._users[user] = OrderedDict()
        else:
            self._users.move_to_end(user)
        given[op_id] = answer
        if len(self._users) > self._users_max:
            self._forget_user(user)
        if len(given) > self._per_user:
            _forget_answer(given, op_id)

    def restore(self, records: Iterable[Record]) -> None:
        """Remember stored answers, oldest first."""
        for user, op_id, epoch, seq, result, error, pending in records:
            self.put(user, op_id, Answer(Position(epoch, seq), result, error, pending))

    def records(self) -> list[Record]:
        """Return all answers in stored form, oldest first per user."""
        return [record_of(user, op_id, answer) for user, given in self._users.items() for op_id, answer in given.items()]

    def _forget_user(self, newest: str) -> None:
        for user, given in self._users.items():
            if user != newest and not any(answer.pending for answer in given.values()):
                del self._users[user]
                return


def _forget_answer(given: OrderedDict[str, Answer], newest: str) -> None:
    for op_id, answer in given.items():
        if op_id != newest and not answer.pending:
            del given[op_id]
            return
