"""What makes a program break when it is told to: around the program, and around an entity's rules.

A program's start fails while there are orders for that (`orders.must_fail`). It is the start that fails and not the building of
the program: spares build theirs ahead, long before anybody needs them. A program that runs takes orders.

Rules raise once at an op whose text holds the word for their kind (`word_for`): once per op and process, so the op that broke
its entity is done when it is tried again.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any, Final

from actors.rules import Context, Decision, Op, Rules
from actors.runtime import Running
from undying.cli.chaos import orders
from undying.resilience.tasks import vital


class Sabotage(Exception):
    """What is raised by order."""


def word_for(kind: str) -> str:
    """Return the word that breaks the rules of a kind of entity, in a text that an op carries."""
    return f"break-the-{kind}"


class Breakable:
    """A program that can be broken (`actors.runtime.Running`, and all methods of the program itself)."""

    def __init__(self, program: str, running: Running, where: Path) -> None:
        self._program = program
        self._running = running
        self._where = where
        self._listening: asyncio.Server | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._running, name)

    async def start(self) -> None:
        """Start the program, or fail. Raises Sabotage, and what the program's start raises."""
        if orders.must_fail(self._where, self._program):
            raise Sabotage(f"{self._program} was told not to start")
        await self._running.start()
        self._where.mkdir(mode=0o700, exist_ok=True)
        self._listening = await orders.listen(self._where, os.getpid(), {orders.FAIL: self._fail, orders.HOG: self._hog})

    async def stop(self) -> None:
        """Stop the program."""
        if self._listening is not None:
            self._listening.close()
        await self._running.stop()

    def _fail(self) -> None:
        self._tasks.append(vital(_fail(), "what chaos breaks"))

    def _hog(self) -> None:
        self._tasks.append(asyncio.create_task(_hog()))


async def _fail() -> None:
    raise Sabotage("a defect, by order")


async def _hog() -> None:
    held: Final[list[bytes]] = []
    while len(held) * orders.HOG_STEP_BYTES < orders.HOG_BYTES_MAX:
        held.append(b"\x01" * orders.HOG_STEP_BYTES)  # not zeros, of which the kernel has one page for all
        await asyncio.sleep(orders.HOG_STEP_S)


class BreakableRules:
    """Rules that raise once where a text says so (`actors.rules.Rules`)."""

    def __init__(self, rules: Rules[Any]) -> None:
        self._rules = rules
        self._word = word_for(rules.kind.value)
        self._broken: set[tuple[str, str]] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rules, name)

    def decide(self, state: Any, op: Op, context: Context) -> Decision:
        """Decide, or break. Raises Sabotage."""
        if any(isinstance(value, str) and self._word in value for value in op.args.values()):
            key = (op.user, op.id)
            if key not in self._broken:
                self._broken.add(key)
                raise Sabotage(f"the rules of a {self._rules.kind.value}, by order")
        return self._rules.decide(state, op, context)
