"""What a frame is, and what is none."""

from __future__ import annotations

import json
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from undying.protocol.codec import Encoding, check, decode, encode
from undying.protocol.errors import Code, UndyingError

ENCODINGS: tuple[Encoding, ...] = ("msgpack", "json")

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=20,
)


def nested(depth: int, leaf: Any = 1) -> Any:
    value = leaf
    for level in range(depth):
        value = {"d": value} if level % 2 else [value]
    return value


def refusal(data: bytes | str, encoding: Encoding) -> str:
    with pytest.raises(UndyingError) as caught:
        decode(data, encoding)
    assert caught.value.failure.code is Code.BAD_FRAME
    return caught.value.failure.message


@given(st.dictionaries(st.text(), plain, max_size=5), st.sampled_from(ENCODINGS))
def test_a_frame_comes_back_as_it_went(extra: dict[str, Any], encoding: Encoding) -> None:
    frame = {**extra, "t": "op"}
    check(frame)
    assert decode(encode(frame, encoding), encoding) == frame


@given(st.binary(max_size=200), st.sampled_from(ENCODINGS))
def test_any_bytes_are_a_frame_or_a_bad_frame(data: bytes, encoding: Encoding) -> None:
    try:
        frame = decode(data, encoding)
    except UndyingError:
        refusal(data, encoding)
    else:
        check(frame)
        assert isinstance(frame["t"], str)


def test_json_is_taken_as_text_and_as_bytes() -> None:
    assert decode('{"t":"hb"}', "json") == decode(b'{"t":"hb"}', "json") == {"t": "hb"}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        msgpack.packb([1, 2]),
        msgpack.packb("text"),
        msgpack.packb({"t": 1}),
        msgpack.packb({"x": "op"}),
        msgpack.packb({"t": "op"}) + b"\x00",
        msgpack.packb({"t": "op"})[:-1],
        msgpack.packb({"t": "op", 1: 2}),
        msgpack.packb({"t": "op", b"k": 2}),
        msgpack.packb({"t": "op", "d": {"x": {1: 2}}}),
        msgpack.packb({"t": "op", "d": b"bytes"}),
        msgpack.packb({"t": "op", "d": [b"bytes"]}),
        msgpack.packb({"t": "op", "d": msgpack.ExtType(5, b"x")}),
        msgpack.packb({"t": "op", "d": msgpack.Timestamp(1, 2)}),
        msgpack.packb({"t": "op", "d": float("nan")}),
        msgpack.packb({"t": "op", "d": [float("-inf")]}),
        b"\x82\xa1t\xa2op\xa1d\xa2\xff\xfe",
        b"\x82\xa1t\xa2op\xa1d\xa3\xed\xa0\x80",
        b"\xdf\xff\xff\xff\xff",
        b"\x91" * 100_000,
    ],
)
def test_bad_messagepack_is_a_bad_frame(data: bytes) -> None:
    refusal(data, "msgpack")


@pytest.mark.parametrize(
    "data",
    [
        "",
        "{",
        "[1]",
        '"text"',
        "null",
        '{"t": 1}',
        '{"t": "op"} x',
        '{"t": "op", "d": NaN}',
        '{"t": "op", "d": -Infinity}',
        '{"t": "op", "d": 1e999}',
        '{"t": "op", "d": 18446744073709551616}',
        '{"t": "op", "d": -9223372036854775809}',
        '{"t": "op", "d": ' + "9" * 5000 + "}",
        '{"t": "op", "d": "\\ud800"}',
        '{"t": "op", "d": {"\\udfff": 1}}',
        '{"t": "op", "d": "\ud800"}',
        "[" * 100_000,
        b"\xff\xfe{",
        b'\xef\xbb\xbf{"t": "op"}',
    ],
)
def test_bad_json_is_a_bad_frame(data: bytes | str) -> None:
    refusal(data, "json")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_deepest_nesting_is_sixteen(encoding: Encoding) -> None:
    assert decode(encode({"t": "op", "d": nested(15)}, encoding), encoding)
    assert "deeper" in refusal(encode({"t": "op", "d": nested(16)}, encoding), encoding)


def test_a_refusal_does_not_repeat_what_came() -> None:
    assert "hunter2" not in refusal(json.dumps({"t": 1, "password": "hunter2"}), "json")


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("value", [object(), 2**70, "\ud800"])
def test_what_an_encoding_cannot_carry_is_a_bad_frame(encoding: Encoding, value: object) -> None:
    if (encoding, value) == ("json", 2**70):
        return  # JSON itself has no bound; `check` and `decode` have
    with pytest.raises(UndyingError, match="BAD_FRAME"):
        encode({"t": "op", "d": value}, encoding)


@pytest.mark.parametrize("value", [b"", 2**64, float("nan"), {1: 2}, {"a": {1}}, "\udc00", nested(17)])
def test_check_takes_plain_data_only(value: object) -> None:
    with pytest.raises(UndyingError, match="BAD_FRAME"):
        check(value)
