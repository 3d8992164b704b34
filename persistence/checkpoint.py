"""Checkpoints: a state at a position, sealed so that a damaged one is noticed and never taken for a state.

    sealed = "UDYC" | version 1 byte | BLAKE2b-128 of the payload | payload
    payload = MessagePack [stream, epoch, seq, schema, at ms, state, answers] and, after a rollback, a list of gaps

The stream and the position are inside the seal too: a checkpoint that lies under a wrong key is refused like a flipped bit.
What rollbacks behind it left off its line (`persistence.lineage`) goes along, so that whoever goes on from it keeps the right
ones of the older checkpoints.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, replace
from typing import Any, Final, cast

import msgpack

from persistence.lineage import Gap
from persistence.store import Damaged, SavedCheckpoint
from undying.protocol.data import JsonObject
from undying.protocol.position import Position, parse_position

_HEADER: Final = b"UDYC\x01"
_SUM_BYTES: Final = 16
_TYPES: Final = (str, int, int, int, int, dict, bytes)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A saved state.

    `schema` is the version of the state's form (`Rules.schema`), `at_ms` when it was taken (ms since 1970), `state` what
    `Rules.dump` returned, `answers` the packed answers by which retries are recognised (`actors.answers`), `gaps` what was
    rolled back over.
    """

    stream: str
    position: Position
    schema: int
    at_ms: int
    state: JsonObject
    answers: bytes = b""
    gaps: tuple[Gap, ...] = ()


def seal(checkpoint: Checkpoint) -> SavedCheckpoint:
    """Pack a checkpoint for the store. Raises TypeError, ValueError or OverflowError when the state is not plain data."""
    position = checkpoint.position
    content = [checkpoint.stream, *position, checkpoint.schema, checkpoint.at_ms, checkpoint.state, checkpoint.answers]
    if checkpoint.gaps:
        content.append(checkpoint.gaps)
    payload = cast(bytes, msgpack.packb(content))
    return SavedCheckpoint(position, _HEADER + _checksum(payload) + payload, checkpoint.gaps)


def unseal(stream: str, saved: SavedCheckpoint) -> Checkpoint:
    """Read a checkpoint of `stream` back. Raises Damaged unless it is, byte for byte, what was sealed for this place."""
    start = len(_HEADER) + _SUM_BYTES
    header, checksum, payload = saved.blob[: len(_HEADER)], saved.blob[len(_HEADER) : start], saved.blob[start:]
    where = f"checkpoint {saved.position.epoch}-{saved.position.seq} of {stream}"
    if header != _HEADER:
        raise Damaged(f"{where} does not start as a checkpoint of version {_HEADER[-1]} does")
    if not hmac.compare_digest(checksum, _checksum(payload)):
        raise Damaged(f"{where} does not match its checksum")
    content, gaps = _unpack(where, payload)
    position = Position(content[1], content[2])
    if content[0] != stream or position != saved.position:
        raise Damaged(f"{where} was sealed as {position.epoch}-{position.seq} of {content[0]}")
    return replace(Checkpoint(stream, position, *content[3:]), gaps=gaps)


def _checksum(payload: bytes) -> bytes:
    return hashlib.blake2b(payload, digest_size=_SUM_BYTES).digest()


def _unpack(where: str, payload: bytes) -> tuple[list[Any], tuple[Gap, ...]]:
    # The checksum is right, so this fails only for what a defect wrote; msgpack's own errors are ValueErrors.
    try:
        content = msgpack.unpackb(payload)
    except (ValueError, TypeError) as error:
        raise Damaged(f"{where} can't be unpacked: {error}") from error
    gaps = content.pop() if isinstance(content, list) and len(content) == len(_TYPES) + 1 else []
    if not isinstance(content, list) or len(content) != len(_TYPES) or not all(map(isinstance, content, _TYPES)):
        raise Damaged(f"{where} does not hold what a checkpoint holds")
    if not isinstance(gaps, list):
        raise Damaged(f"{where} tells of rollbacks without a shape")
    return content, tuple(_read_gap(where, raw) for raw in gaps)


def _read_gap(where: str, raw: Any) -> Gap:
    match raw:
        case [first, last] if (after := parse_position(first)) is not None and (over := parse_position(last)) is not None:
            return Gap(after, over)
    raise Damaged(f"{where} tells of a rollback without a shape")
