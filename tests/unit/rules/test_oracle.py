"""The oracle: answers from tables, the same for the same generator."""

from __future__ import annotations

import random

import pytest

from actors.provider import ProviderRules
from actors.provider.oracle import answer
from actors.rules import Accepted
from tests.unit.rules.playing import Play
from undying.protocol.errors import Code
from undying.protocol.ids import Role


@pytest.mark.parametrize(
    ("prompt", "begins"),
    [
        ("Is the door locked?", ("Yes", "No")),
        ("Doesn't she see us?", ("Yes", "No")),
        ("Where does the stair lead?", ("You come to",)),
        ("What is in the chest?", ("You find",)),
    ],
)
def test_a_question_gets_an_answer_of_its_kind(prompt: str, begins: tuple[str, ...]) -> None:
    for seed in range(30):
        assert answer(prompt, random.Random(seed)).startswith(begins)


def test_a_name_is_asked_for_and_given() -> None:
    assert ", who " in answer("What is the innkeeper called?", random.Random(4))


@pytest.mark.parametrize("prompt", ["What goes wrong?", "Set the mood.", "…", "x" * 4_000])
def test_any_prompt_gets_a_whole_sentence(prompt: str) -> None:
    for seed in range(30):
        said = answer(prompt, random.Random(seed))
        assert said[0].isupper()
        assert said.endswith((".", "you."))


def test_the_same_generator_gets_the_same_answer() -> None:
    assert answer("Who?", random.Random(7)) == answer("Who?", random.Random(7))


def test_the_provider_comes_into_being_by_its_first_question() -> None:
    play = Play(ProviderRules(), "oracle", {"ann": Role.PLAYER})
    assert not play.rules.exists(play.state)
    result = play.ok("@session:t1", "ask", {"prompt": "Is it?", "context": ["a line"]})
    assert (result["provider"], result["degraded"], bool(result["text"])) == ("oracle", False, True)
    assert play.rules.exists(play.state)
    assert play.told("ann") == []


def test_no_client_asks_a_provider_directly() -> None:
    play = Play(ProviderRules(), "oracle", {"ann": Role.PLAYER})
    assert play.code("ann", "ask", {"prompt": "Is it?"}) is Code.BAD_OP


def test_a_provider_can_be_made_without_a_question() -> None:
    play = Play(ProviderRules(), "oracle", {})
    assert isinstance(play.do("@session:t1", "provider.configure"), Accepted)
    assert play.rules.exists(play.state)
