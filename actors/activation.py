"""How an entity comes to life: rebuild the state from the newest good checkpoint and the tail, then claim the next epoch.

The claim comes last, so that an entity that can't be rebuilt leaves no claim behind at each try. That is sound because a
claim is written only when the journal still ends where the rebuilding did; what landed in between is taken in, and the
claim tried again. From the claim on nothing can be added to the journal behind our back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import structlog

from actors.answers import Answers, unpack_records
from actors.incarnation import Incarnation
from actors.rules import Rules
from persistence.checkpoint import Checkpoint
from persistence.journal import claim_entry
from persistence.migrations import Upcasters
from persistence.rehydrate import load, read_tail
from persistence.store import Append, Damaged, Entry, Fenced, Store, StoreUnavailable, TailLost
from undying.protocol.errors import Code, error
from undying.protocol.ids import Kind, split_stream
from undying.protocol.position import NOWHERE, Position

log = structlog.get_logger()

Life: TypeAlias = Incarnation[Any, Any]

BY: Final = "@server"
CLAIMS_MAX: Final = 5
"""How often a claim is tried again when another claimant was faster."""


async def activate(
    stream: str,
    store: Store,
    rules: Mapping[Kind, Rules[Any]],
    upcasters: Upcasters,
    now_ms: int,
    *,
    create: bool,
    above: int = 0,
) -> Life:
    """Rebuild the stream's entity and claim the stream, for an epoch higher than `above` too.

    Raises UndyingError: NOT_FOUND when the stream has no journal and `create` is False; DATABASE_UNAVAILABLE; DATA_DAMAGED
    when no way back to the whole state exists; UNAVAILABLE when others keep claiming it.
    """
    kind, entity_id = split_stream(stream)
    try:
        last = await store.last(stream)
        if last is None and not create:
            raise error(Code.NOT_FOUND, f"there is no {stream}", stream=stream)
        life = await _rebuild(stream, entity_id, store, rules[kind], upcasters, last or NOWHERE)
        await _claim(life, store, now_ms, above)
    except (StoreUnavailable, TailLost) as failure:
        raise error(Code.DATABASE_UNAVAILABLE, "the store does not answer", stream=stream) from failure
    except Damaged as failure:
        raise error(Code.DATA_DAMAGED, f"{stream} can't be rebuilt: {failure}", stream=stream) from failure
    return life


async def _rebuild(stream: str, entity_id: str, store: Store, rules: Rules[Any], upcasters: Upcasters, until: Position) -> Life:
    lives: dict[Position, Life] = {NOWHERE: Incarnation(stream, rules, rules.initial(entity_id), Answers(), NOWHERE)}

    def usable(checkpoint: Checkpoint) -> None:
        data = upcasters.upcast(rules.kind, checkpoint.schema, rules.schema, checkpoint.state)
        answers = Answers()
        try:
            state = rules.load(data)
            answers.restore(unpack_records(checkpoint.answers))
        except Exception as problem:
            # The edge of an entity, as in `_replay`.
            raise Damaged(f"the checkpoint at {checkpoint.position} holds no state: {problem!r}") from problem
        lives[checkpoint.position] = Incarnation(stream, rules, state, answers, checkpoint.position)

    loaded = await load(store, stream, until, usable)
    for skipped in loaded.skipped:
        log.warning("checkpoint skipped", stream=stream, why=skipped)
    life = lives[NOWHERE if loaded.checkpoint is None else loaded.checkpoint.position]
    _replay(life, loaded.tail)
    return life


def _replay(life: Life, entries: list[Entry]) -> None:
    for entry in entries:
        try:
            life.replay(entry)
        except Exception as problem:
            # The edge of an entity: whether its bytes are damaged or its rules are wrong about them, it is this one that
            # can't be rebuilt; the others in this process go on.
            raise Damaged(f"the entry at {entry.position} can't be taken in: {problem!r}") from problem


async def _claim(life: Life, store: Store, now_ms: int, above: int) -> None:
    for _ in range(CLAIMS_MAX):
        claim = claim_entry(life.position, BY, now_ms, above)
        (outcome,) = await store.append([Append(life.stream, claim, life.position)])
        if outcome is None:
            life.replay(claim)
            return
        if not isinstance(outcome, Fenced):
            raise outcome
        # What a dead host had sent, or the claim of another one, landed meanwhile.
        last = await store.last(life.stream) or NOWHERE
        _replay(life, await read_tail(store, life.stream, life.position, last))
    raise error(Code.UNAVAILABLE, f"{life.stream} is claimed by others again and again", stream=life.stream)
