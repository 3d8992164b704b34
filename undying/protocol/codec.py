"""Frames to bytes and back, in MessagePack and in JSON, for both ends of a socket.

A frame is a map from strings to plain data (`undying.protocol.data`) whose `t` is a string. What comes off a socket is a
stranger's: `decode` lets through nothing else, so that no later code meets a NaN, a lone surrogate, bytes, a timestamp,
a number that one of the two encodings can't carry, or nesting deep enough to hurt. All that is wrong is one failure,
BAD_FRAME, whose message names the fault and never repeats the content.

Invariant (property-tested): `decode(encode(frame, e), e) == frame` for every frame that `check` takes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias, cast

import msgpack

from undying.protocol.data import DEPTH_MAX, JsonObject
from undying.protocol.errors import Code, Failure, UndyingError, error

Encoding: TypeAlias = Literal["msgpack", "json"]

SUBPROTOCOLS: Final[dict[str, Encoding]] = {"undying.v1.msgpack": "msgpack", "undying.v1.json": "json"}
"""WebSocket subprotocols and the encoding that each one stands for."""

INT_MIN: Final = -(2**63)
INT_MAX: Final = 2**64 - 1
"""The whole numbers that MessagePack can carry."""


class Undecodable(UndyingError):
    """The bytes are not a value of their encoding (a WebSocket ends with 1007 for that)."""


def decode(data: bytes | str, encoding: Encoding) -> JsonObject:
    """Read one frame. JSON may come as text or as UTF-8 bytes, MessagePack only as bytes.

    Raises UndyingError BAD_FRAME when it is not a map with a string `t`, or holds what plain data can't hold, and
    Undecodable, with the same code, when the bytes are no value at all.
    """
    try:
        frame = _read(data, encoding)
    # RecursionError: JSON may nest deeper than Python's stack before the check below could see it.
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as fault:
        raise Undecodable(Failure(Code.BAD_FRAME, f"the bytes are not one {encoding} value")) from fault
    if type(frame) is not dict:
        raise _bad("a frame is a map")
    if type(frame.get("t")) is not str:
        raise _bad("a frame's `t` is a string")
    _check_map(frame, 1)
    return cast(JsonObject, frame)


def encode(frame: Mapping[str, object], encoding: Encoding) -> bytes:
    """Write one frame; JSON as UTF-8. Raises UndyingError BAD_FRAME when the encoding can't carry a value of it."""
    try:
        if encoding == "msgpack":
            return cast(bytes, msgpack.packb(frame))
        return _JSON_OUT.encode(frame).encode()
    except (ValueError, TypeError, OverflowError, RecursionError) as fault:
        raise _bad(f"the frame holds what {encoding} can't carry") from fault


def check(value: object) -> None:
    """Make sure that `value` is plain data as frames may hold it. Raises UndyingError BAD_FRAME when it is not."""
    _check_list([value], 0)


def _read(data: bytes | str, encoding: Encoding) -> object:
    if encoding == "json":
        return _JSON_IN.decode(data if isinstance(data, str) else data.decode())
    if isinstance(data, str):
        raise TypeError("MessagePack is bytes")
    return msgpack.unpackb(data, ext_hook=_refuse_ext)


def _refuse_ext(code: int, _: bytes) -> object:
    raise ValueError(f"extension type {code}")


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


_JSON_IN = json.JSONDecoder(parse_constant=_refuse_constant)
_JSON_OUT = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _check_map(node: dict[object, object], depth: int) -> None:
    if depth > DEPTH_MAX:
        raise _bad(f"nested deeper than {DEPTH_MAX}")
    for key, value in node.items():
        if type(key) is not str:
            raise _bad("a key is not a string")
        if not key.isascii():
            _check_text(key)
        # The commonest case stays in the loop: most values are short strings, and a call costs more than the test.
        if type(value) is str:
            if not value.isascii():
                _check_text(value)
        elif value is not None:
            _check_value(value, depth)


def _check_list(node: list[object] | tuple[object, ...], depth: int) -> None:
    if depth > DEPTH_MAX:
        raise _bad(f"nested deeper than {DEPTH_MAX}")
    for value in node:
        if type(value) is str:
            if not value.isascii():
                _check_text(value)
        elif value is not None:
            _check_value(value, depth)


def _check_value(value: object, depth: int) -> None:
    kind = type(value)
    if kind is int:
        if not INT_MIN <= cast(int, value) <= INT_MAX:
            raise _bad("a whole number is beyond 64 bits")
    elif kind is dict:
        _check_map(cast("dict[object, object]", value), depth + 1)
    elif kind is list or kind is tuple:
        _check_list(cast("list[object]", value), depth + 1)
    elif kind is float:
        # Infinity minus itself is NaN, and NaN equals nothing.
        if cast(float, value) - cast(float, value) != 0.0:
            raise _bad("a number is not finite")
    elif kind is not bool:
        raise _bad("a value is of a type that frames don't hold")


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as fault:
        raise _bad("a text holds a lone surrogate") from fault


def _bad(message: str) -> UndyingError:
    return error(Code.BAD_FRAME, message)
