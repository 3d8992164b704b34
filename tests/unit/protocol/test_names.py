"""Ids, stream names, roles, close codes, and how deep data may nest."""

from __future__ import annotations

import random
from typing import Any

import pytest

from undying.protocol.closes import Close, NextStep, next_step
from undying.protocol.data import DEPTH_MAX, depth_exceeds
from undying.protocol.ids import Kind, Role, is_id, is_stream, new_id, parse_role, split_stream, stream_name


@pytest.mark.parametrize("text", ["a", "A-b_9", "x" * 64])
def test_ids_are_letters_digits_dash_and_underscore(text: str) -> None:
    assert is_id(text)
    assert split_stream(stream_name(Kind.CHARACTER, text)) == (Kind.CHARACTER, text)


@pytest.mark.parametrize("text", ["", "x" * 65, "a b", "a:b", "ä", "a\n", None, 5])
def test_anything_else_is_no_id(text: object) -> None:
    assert not is_id(text)
    assert not is_stream(f"session:{text}") or text in (None, 5)


@pytest.mark.parametrize("text", ["session", "session:", ":x", "sessions:x", "host:x", "session:a:b", "", "session:x\n"])
def test_what_is_no_stream_name_is_refused(text: str) -> None:
    assert not is_stream(text)
    with pytest.raises(ValueError):
        split_stream(text)


def test_drawn_ids_are_ids_and_depend_on_the_randomness_alone() -> None:
    assert new_id(random.Random(3)) == new_id(random.Random(3)) != new_id(random.Random(4))
    assert all(is_id(new_id(random.Random(seed))) for seed in range(50))


@pytest.mark.parametrize(
    ("text", "role"), [("GM", Role.GM), ("p", Role.PLAYER), ("Spectator", Role.SPECTATOR), ("a", Role.AGENT)]
)
def test_roles_are_read_as_people_write_them(text: str, role: Role) -> None:
    assert parse_role(text) is role


@pytest.mark.parametrize("text", ["system", "", "owner"])
def test_nobody_is_given_a_role_that_people_do_not_have(text: str) -> None:
    with pytest.raises(ValueError, match="is not a role"):
        parse_role(text)


@pytest.mark.parametrize(
    ("code", "step"),
    [
        (None, "resume"),
        (Close.NOT_AUTHENTICATED, "stop"),
        (Close.REPLACED, "stop"),
        (Close.INVALID_DATA, "stop"),
        (Close.TOO_BIG, "stop"),
        (Close.OVERLOADED, "backoff"),
        (Close.DRAINING, "resume"),
        (Close.HEARTBEAT_MISSED, "resume"),
        (Close.RESUME_REFUSED, "rejoin"),
        (Close.TOO_SLOW, "rejoin"),
    ],
)
def test_a_close_code_says_what_the_client_does_next(code: int | None, step: NextStep) -> None:
    assert next_step(code) == step


def test_data_may_nest_so_deep_and_no_deeper() -> None:
    def nested(depth: int) -> Any:
        value: Any = 1
        for at in range(depth):
            value = [value] if at % 2 else {"x": value}
        return value

    assert not depth_exceeds(nested(DEPTH_MAX))
    assert depth_exceeds(nested(DEPTH_MAX + 1))
    assert depth_exceeds(nested(100_000))
