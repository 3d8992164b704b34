"""A program that can be broken is the program, until it is told to break."""

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from actors.rules import Context, Op
from actors.session import SessionRules
from undying.cli.chaos import orders
from undying.cli.chaos.sabotage import Breakable, BreakableRules, Sabotage, word_for
from undying.protocol.ids import Role
from undying.resilience.tasks import FATAL

CONTEXT = Context(0, random.Random(1))


class Program:
    """A program that counts its starts."""

    def __init__(self) -> None:
        self.started = 0

    async def start(self) -> None:
        self.started += 1

    async def stop(self) -> None:
        self.started -= 1

    async def greet(self, name: str) -> str:
        return f"Hello, {name}."


async def test_a_program_starts_answers_and_stops_as_it_does_without_the_wrapper(tmp_path: Path) -> None:
    program = Program()
    breakable = Breakable("host", program, tmp_path)
    await breakable.start()
    assert (program.started, await breakable.greet("Ada")) == (1, "Hello, Ada.")
    await breakable.stop()
    assert program.started == 0


async def test_a_start_fails_as_often_as_was_ordered_and_not_before_it_is_asked_for(tmp_path: Path) -> None:
    program = Program()
    breakable = Breakable("host", program, tmp_path)
    orders.let_starts_fail(tmp_path, "host", 1)
    with pytest.raises(Sabotage):
        await breakable.start()
    assert program.started == 0
    await Breakable("host", program, tmp_path).start()
    assert program.started == 1


async def test_the_order_to_fail_ends_a_vital_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getpid", lambda: 7)
    reported: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.set_result(context))
    await Breakable("root", Program(), tmp_path).start()
    await orders.give(tmp_path, 7, orders.FAIL)
    context = await reported
    assert context[FATAL]
    assert isinstance(context["exception"], Sabotage)


def test_rules_break_once_at_an_op_that_says_so_and_decide_it_when_it_is_tried_again() -> None:
    rules = BreakableRules(SessionRules())
    state = rules.initial("table")
    for op_id in ("1", "2"):
        op = Op(op_id, "chat.say", {"text": f"{op_id} {word_for('session')}"}, "ann", Role.GM)
        with pytest.raises(Sabotage):
            rules.decide(state, op, CONTEXT)
        assert rules.decide(state, op, CONTEXT) == SessionRules().decide(state, op, CONTEXT)


def test_rules_do_not_break_at_the_word_of_another_kind() -> None:
    rules = BreakableRules(SessionRules())
    op = Op("2", "ai.ask", {"prompt": word_for("provider")}, "ann", Role.GM)
    rules.decide(rules.initial("table"), op, CONTEXT)
