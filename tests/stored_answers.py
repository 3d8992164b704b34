"""Stored answers, read by other code than the one that stores them."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import msgpack


class Stored(NamedTuple):
    """One answer as it lies in an entry or a checkpoint."""

    user: str
    op_id: str
    epoch: int
    seq: int
    result: Any
    error: Any
    pending: bool


def unpack_records(data: bytes) -> list[Stored]:
    """Read a list of records; no bytes are none."""
    return [Stored(*cast("list[Any]", raw)) for raw in msgpack.unpackb(data)] if data else []
