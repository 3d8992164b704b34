"""Carries an entity's commands to other entities, until each has an answer in the entity's own state.

An entity keeps a command in its state (`Rules.outbox`) from the commit that wants it to the commit that knows what became
of it. The courier sends whatever is there: at least once, with the command's key as op id, so done at most once. A crash
in between loses nothing; the next incarnation's courier sends it again and gets the first answer.

When there is no way to the other entity (it is quarantined, say), that is the answer, and it says so: `heard` is False. An
earlier try may have been done all the same; only an answer of the entity itself is a yes or a no.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import random
from collections.abc import Mapping
from typing import Protocol

import structlog

from actors.rules import Command
from undying.protocol.data import JsonObject
from undying.protocol.errors import UndyingError
from undying.resilience.backoff import Backoff
from undying.resilience.tasks import vital

RETRY = Backoff(base_s=0.05, cap_s=1.0)

log = structlog.get_logger()


class Peers(Protocol):
    """How to ask another entity, wherever it lives."""

    async def ask(self, stream: str, op_id: str, kind: str, args: JsonObject, user: str, *, create: bool) -> JsonObject:
        """Return `{ok, result | error}`, as the entity answers. Raises UndyingError when it gives no answer.

        Then ask again, same id, or (not recoverable) give it up; the outcome is unknown.
        """
        ...


class Answered(Protocol):
    """Who takes the answers."""

    def __call__(self, stream: str, key: str, to: str, answer: JsonObject) -> None:
        """Take the answer to the command `key` of `stream`."""
        ...


class Courier:
    """The commands under way of the entities of one host."""

    def __init__(self, peers: Peers, answered: Answered, rng: random.Random) -> None:
        self._peers = peers
        self._rng = rng
        self._answered = answered
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}

    def look(self, stream: str, outbox: Mapping[str, Command]) -> None:
        """Send what is in the outbox and not under way yet."""
        for key, command in outbox.items():
            if (stream, key) not in self._tasks:
                task = vital(self._carry(stream, key, command), f"the courier of {stream}")
                self._tasks[stream, key] = task
                task.add_done_callback(functools.partial(self._done, (stream, key)))

    def forget(self, stream: str) -> None:
        """Stop carrying for an entity that does not live here any more."""
        for at in [at for at in self._tasks if at[0] == stream]:
            self._tasks.pop(at).cancel()

    def _done(self, at: tuple[str, str], _: asyncio.Task[None]) -> None:
        self._tasks.pop(at, None)

    async def _carry(self, stream: str, key: str, command: Command) -> None:
        for attempt in itertools.count():
            try:
                answer = await self._peers.ask(command.to, key, command.kind, command.args, f"@{stream}", create=command.create)
            except UndyingError as failure:
                if not failure.failure.row.recoverable:
                    answer = {"ok": False, "error": failure.failure.to_wire(), "heard": False}
                    break
                delay_s = RETRY.delay(attempt, self._rng)
                log.info("command waits", stream=stream, to=command.to, code=failure.failure.code, delay_s=delay_s)
                await asyncio.sleep(delay_s)
            else:
                break
        self._answered(stream, key, command.to, answer)
