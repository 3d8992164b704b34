"""The answers an entity has given, by user and op id: what makes a retry harmless.

Answers are part of the state: each is in the journal entry of the commit that made it true, and all are in every
checkpoint. An answer without events (a refusal, or an op that changed nothing) goes into the *next* entry. That is
enough: such an answer could only turn out differently after the state changed, and any change is an entry.

Bounds: `PER_USER` answers for each user, `USERS` users, the longest unused forgotten first; an answer that is still to
come (`pending`) is never forgotten, nor is the one just given. A user may therefore have at most `PER_USER` ops without
an answer on one stream; a gateway holds each to less (`gateway.asking.OPS_MAX` times `gateway.hub.SEATS_MAX`).

An answer is packed once, when it is given, and those bytes go into the entry and into every checkpoint as they are. Most are
never looked at again. As bytes they are small, and nothing that the garbage collector has to walk: a busy host remembers
hundreds of thousands.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias, cast

import msgpack

from undying.protocol.data import JsonObject
from undying.protocol.position import NOWHERE, Position

PER_USER = 512
USERS = 512


class Answer(NamedTuple):
    """What became of an op. `position` is that of its last event, NOWHERE when it was refused."""

    position: Position = NOWHERE
    result: JsonObject | None = None
    error: JsonObject | None = None
    pending: bool = False


Record: TypeAlias = bytes
"""An answer as stored: MessagePack list of user, op id, epoch, seq, result, error object, pending."""

FIELDS: Final = 7

_PACKER: Final = msgpack.Packer()


def pack_records(records: Sequence[Record]) -> bytes:
    """Encode a list of records; none are no bytes."""
    return cast(bytes, _PACKER.pack_array_header(len(records))) + b"".join(records) if records else b""


def _read(raw: Sequence[object]) -> Answer:
    _, _, epoch, seq, result, error, pending = raw
    return Answer(
        Position(cast(int, epoch), cast(int, seq)),
        cast("JsonObject | None", result),
        cast("JsonObject | None", error),
        cast(bool, pending),
    )


class Answers:
    """A bounded memory of answers."""

    def __init__(self, per_user: int = PER_USER, users: int = USERS) -> None:
        self._per_user = per_user
        self._users_max = users
        self._users: OrderedDict[str, dict[str, Record]] = OrderedDict()
        self._pending: set[tuple[str, str]] = set()

    def get(self, user: str, op_id: str) -> Answer | None:
        """Return the answer given to that op, None when it is new (or forgotten)."""
        record = self.record(user, op_id)
        return None if record is None else _read(msgpack.unpackb(record))

    def record(self, user: str, op_id: str) -> Record | None:
        """Return the answer given to that op as it is stored."""
        given = self._users.get(user)
        return None if given is None else given.get(op_id)

    def put(self, user: str, op_id: str, answer: Answer) -> Record:
        """Remember an answer, in the place of a pending one if there is one. Returns its stored form."""
        epoch, seq = answer.position
        record = cast(Record, msgpack.packb((user, op_id, epoch, seq, answer.result, answer.error, answer.pending)))
        self._remember(user, op_id, record, pending=answer.pending)
        return record

    def restore(self, data: bytes) -> None:
        """Remember stored answers (`pack_records`), oldest first. Raises what `msgpack` does for bytes that are none.

        Each record is taken as it is: there are thousands, and players wait for their table to be back.
        """
        if not data:
            return
        unpacker = msgpack.Unpacker(max_buffer_size=len(data))
        unpacker.feed(data)
        for _ in range(unpacker.read_array_header()):
            start = unpacker.tell()
            fields = unpacker.read_array_header()
            if fields != FIELDS:
                raise ValueError(f"an answer has {FIELDS} fields, not {fields}")
            user, op_id = unpacker.unpack(), unpacker.unpack()
            for _ in range(FIELDS - 3):
                unpacker.skip()
            pending = unpacker.unpack()
            self._remember(user, op_id, data[start : unpacker.tell()], pending=pending)

    def _remember(self, user: str, op_id: str, record: Record, *, pending: bool) -> None:
        given = self._users.get(user)
        if given is None:
            given = self._users[user] = {}  # keeps its order, and takes a third of what an OrderedDict does
        else:
            self._users.move_to_end(user)
            given.pop(op_id, None)  # what was pending is now the newest answer, not as old as its question
        given[op_id] = record
        if pending:
            self._pending.add((user, op_id))
        elif self._pending:
            self._pending.discard((user, op_id))
        if len(self._users) > self._users_max:
            self._forget_user(user)
        if len(given) > self._per_user:
            self._forget_answer(user, given, op_id)

    def records(self) -> list[Record]:
        """Return all answers in stored form, oldest first per user."""
        return [record for given in self._users.values() for record in given.values()]

    def _forget_user(self, newest: str) -> None:
        waiting = {user for user, _ in self._pending}
        for user in self._users:
            if user != newest and user not in waiting:
                del self._users[user]
                return

    def _forget_answer(self, user: str, given: dict[str, Record], newest: str) -> None:
        for op_id in given:
            if op_id != newest and (user, op_id) not in self._pending:
                del given[op_id]
                return
