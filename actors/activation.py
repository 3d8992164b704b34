"""How an entity comes to life: claim the next epoch, then rebuild the state from the newest good checkpoint and the tail.

The claim comes first. From then on nothing can be added to the journal behind our back, so what is read afterwards is
complete.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgpack
import structlog

from actors.answers import Answers, unpack_records
from actors.incarnation import Incarnation
from actors.rules import Rules
from persistence.checkpoint import Checkpoint
from persistence.journal import claim_entry
from persistence.migrations import Upcasters
from persistence.rehydrate import Loaded, load
from persistence.store import Append, Damaged, Fenced, Store, StoreUnavailable
from undying.protocol.errors import Code, error
from undying.protocol.events import Event
from undying.protocol.ids import Kind, split_stream
from undying.protocol.position import NOWHERE, Position

log = structlog.get_logger()

BY: Final = "@server"
CLAIMS_MAX: Final = 5
"""How often a claim is tried again when another claimant was faster."""


async def activate(
    stream: str, store: Store, rules: Mapping[Kind, Rules[Any]], upcasters: Upcasters, now_ms: int, *, create: bool
) -> Incarnation[Any, Any]:
    """Claim the stream and rebuild its entity.

    Raises UndyingError: NOT_FOUND when the stream has no journal and `create` is False; DATABASE_UNAVAILABLE; DATA_DAMAGED
    when no way back to the whole state exists; UNAVAILABLE when others keep claiming it.
    """
    kind, entity_id = split_stream(stream)
    theirs = rules[kind]
    states: dict[Position, Any] = {}

    def usable(checkpoint: Checkpoint) -> None:
        data = upcasters.upcast(kind, checkpoint.schema, theirs.schema, checkpoint.state)
        try:
            states[checkpoint.position] = theirs.load(data)
        except ValueError as problem:
            raise Damaged(f"the checkpoint at {checkpoint.position} holds no state of a {kind.value}") from problem

    try:
        position = await _claim(stream, store, now_ms, create=create)
        loaded = await load(store, stream, position, usable)
    except StoreUnavailable as failure:
        raise error(Code.DATABASE_UNAVAILABLE, "the store does not answer", stream=stream) from failure
    except Damaged as failure:
        raise error(Code.DATA_DAMAGED, f"{stream} can't be rebuilt: {failure}", stream=stream) from failure
    for skipped in loaded.skipped:
        log.warning("checkpoint skipped", stream=stream, why=skipped)
    checkpoint = loaded.checkpoint
    state = theirs.initial(entity_id) if checkpoint is None else states[checkpoint.position]
    return _rebuild(stream, theirs, state, position, loaded)


def _rebuild(stream: str, rules: Rules[Any], state: Any, position: Position, loaded: Loaded) -> Incarnation[Any, Any]:
    answers = Answers()
    if loaded.checkpoint is not None:
        answers.restore(unpack_records(loaded.checkpoint.answers))
    incarnation: Incarnation[Any, Any] = Incarnation(stream, rules, state, answers, position)
    incarnation.tail_from = NOWHERE if loaded.checkpoint is None else loaded.checkpoint.position
    for entry in loaded.tail:
        if entry.first > 0:
            for raw in msgpack.unpackb(entry.body):
                rules.evolve(state, Event.from_entry(raw))
        answers.restore(unpack_records(entry.answers))
        incarnation.remember_entry(entry)
    return incarnation


async def _claim(stream: str, store: Store, now_ms: int, *, create: bool) -> Position:
    for _ in range(CLAIMS_MAX):
        last = await store.last(stream)
        if last is None and not create:
            raise error(Code.NOT_FOUND, f"there is no {stream}", stream=stream)
        previous = last or NOWHERE
        claim = claim_entry(previous, BY, now_ms)
        # `follows`: what a dead host had already sent may land between the look and the claim.
        (outcome,) = await store.append([Append(stream, claim, follows=previous)])
        if outcome is None:
            return claim.position
        if not isinstance(outcome, Fenced):
            raise outcome
    raise error(Code.UNAVAILABLE, f"{stream} is claimed by others again and again", stream=stream)
