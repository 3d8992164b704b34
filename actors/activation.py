"""How an entity comes to life: rebuild the state from the newest good checkpoint and the tail, then claim the next epoch.

The claim comes last, so that an entity that can't be rebuilt leaves no claim behind at each try. That is sound because a
claim is written only when the journal still ends where the rebuilding did; what landed in between is taken in, and the
claim tried again. From the claim on nothing can be added to the journal behind our back.

A *rollback* is such a claim that names an older position than the journal's end (`persistence.lineage`): the state is rebuilt
up to there, and what came after stays in the journal and counts no more. It is written only while the journal still ends where
the look at it did; so of two rollbacks at once one is refused, and one that meets another life's write is too. Either the claim
is written and the entity is set back, or nothing has happened. What is left behind is taken in by nobody, for it may be what
ends every process that does. The answers to the ops in it are lost: a client that asks one of these again has it done anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, TypeAlias

import structlog

from actors.answers import Answers
from actors.incarnation import Incarnation
from actors.rules import Rules
from persistence.checkpoint import Checkpoint
from persistence.journal import claim_entry
from persistence.migrations import Upcasters
from persistence.rehydrate import OffLine, load, read_tail
from persistence.store import Append, Damaged, Entry, Fenced, Store, StoreUnavailable, TailLost
from persistence.survey import read_claims
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
    rebuild = partial(_rebuild, stream, store, rules[split_stream(stream)[0]], upcasters)
    with _failures_of(stream):
        last = await store.last(stream)
        if last is None and not create:
            raise error(Code.NOT_FOUND, f"there is no {stream}", stream=stream)
        life = await rebuild(last or NOWHERE)
        for _ in range(CLAIMS_MAX):
            outcome = await _claim(life, store, claim_entry(life.position, BY, now_ms, above), life.position)
            if outcome is None:
                return life
            # What a dead host had sent, or the claim of another one, landed meanwhile.
            last = await store.last(stream) or NOWHERE
            try:
                _replay(life, await read_tail(store, stream, life.position, last))
            except OffLine:
                life = await rebuild(last)
    raise error(Code.UNAVAILABLE, f"{stream} is claimed by others again and again", stream=stream)


async def roll_back(
    stream: str, store: Store, rules: Mapping[Kind, Rules[Any]], upcasters: Upcasters, now_ms: int, to: Position
) -> tuple[Life, int]:
    """Rebuild the stream's entity as it was at `to`, a checkpoint or an entry's end, and claim the stream from there.

    Returns it with the number of events that do not count any more. Raises UndyingError: NOT_FOUND when the stream has no
    journal; BAD_ARGS when nothing comes after `to`, or the entity did not exist there; DATA_DAMAGED when no way leads there;
    WRONG_STATE when somebody else wrote meanwhile; DATABASE_UNAVAILABLE, after which it may have been done.
    """
    with _failures_of(stream):
        end = await store.last(stream)
        if end is None:
            raise error(Code.NOT_FOUND, f"there is no {stream}", stream=stream)
        if to >= end:
            raise error(Code.BAD_ARGS, f"nothing comes after {to.epoch}-{to.seq} in {stream}", path="to", end=[*end])
        life = await _rebuild(stream, store, rules[split_stream(stream)[0]], upcasters, to)
        if not life.rules.exists(life.state):
            raise error(Code.BAD_ARGS, f"there was no {stream} yet at {to.epoch}-{to.seq}", path="to")
        dropped = (await read_claims(store, stream)).dropped(to, end)
        if await _claim(life, store, claim_entry(to, BY, now_ms, over=end), end) is not None:
            raise error(Code.WRONG_STATE, f"{stream} was written to meanwhile, by another life of it", stream=stream)
    log.warning("rolled back", stream=stream, to=[*to], end=[*end], dropped=dropped)
    return life, dropped


@contextmanager
def _failures_of(stream: str) -> Iterator[None]:
    """Say in the words of the taxonomy what a store raises."""
    try:
        yield
    except (StoreUnavailable, TailLost) as failure:
        raise error(Code.DATABASE_UNAVAILABLE, "the store does not answer", stream=stream) from failure
    except Damaged as failure:
        raise error(Code.DATA_DAMAGED, f"{stream} can't be rebuilt: {failure}", stream=stream) from failure


async def _rebuild(stream: str, store: Store, rules: Rules[Any], upcasters: Upcasters, until: Position) -> Life:
    initial = rules.initial(split_stream(stream)[1])
    lives: dict[Position, Life] = {NOWHERE: Incarnation(stream, rules, initial, Answers(), NOWHERE)}

    def usable(checkpoint: Checkpoint) -> None:
        data = upcasters.upcast(rules.kind, checkpoint.schema, rules.schema, checkpoint.state)
        answers = Answers()
        try:
            state = rules.load(data)
            answers.restore(checkpoint.answers)
        except Exception as problem:
            # The edge of an entity, as in `_replay`.
            raise Damaged(f"the checkpoint at {checkpoint.position} holds no state: {problem!r}") from problem
        life = lives[checkpoint.position] = Incarnation(stream, rules, state, answers, checkpoint.position)
        life.gaps = checkpoint.gaps

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


async def _claim(life: Life, store: Store, claim: Entry, end: Position) -> Fenced | None:
    """Write a claim behind the end of the journal; Fenced when that is not its end any more. Raises other outcomes."""
    (outcome,) = await store.append([Append(life.stream, claim, end)])
    if outcome is None:
        life.replay(claim)
    elif not isinstance(outcome, Fenced):
        raise outcome
    return outcome
