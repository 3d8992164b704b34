"""A checkpoint comes back as it was, or not at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistence.checkpoint import Checkpoint, seal, unseal
from persistence.lineage import Gap
from persistence.store import Damaged, SavedCheckpoint
from undying.protocol.data import Json
from undying.protocol.position import Position

scalars: st.SearchStrategy[Json] = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(max_size=20)
)
values: st.SearchStrategy[Json] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
positions = st.builds(Position, st.integers(0, 2**48 - 1), st.integers(0, 2**48 - 1))
checkpoints = st.builds(
    Checkpoint,
    stream=st.sampled_from(["session:a", "character:b-2", "provider:c_3"]),
    position=positions,
    schema=st.integers(1, 2**31),
    at_ms=st.integers(0, 2**53),
    state=st.dictionaries(st.text(max_size=8), values, max_size=5),
    answers=st.binary(max_size=50),
    gaps=st.lists(st.builds(Gap, after=positions, over=positions), max_size=3).map(tuple),
)
SMALL = Checkpoint("session:a", Position(3, 7), 1, 1_700_000_000_000, {"name": "Moria", "hp": [1, 2.5, None]}, b"answers")


@given(checkpoints)
def test_unseal_gives_back_what_was_sealed(checkpoint: Checkpoint) -> None:
    assert unseal(checkpoint.stream, seal(checkpoint)) == checkpoint
    assert seal(checkpoint).gaps == checkpoint.gaps


@given(checkpoints, st.data())
def test_any_change_of_any_byte_is_refused(checkpoint: Checkpoint, data: st.DataObject) -> None:
    blob = bytearray(seal(checkpoint).blob)
    at = data.draw(st.integers(0, len(blob) - 1))
    blob[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(Damaged):
        unseal(checkpoint.stream, SavedCheckpoint(checkpoint.position, bytes(blob)))


def test_every_single_flipped_bit_of_a_small_one_is_refused() -> None:
    sealed = seal(SMALL).blob
    for bit in range(len(sealed) * 8):
        blob = bytearray(sealed)
        blob[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Damaged):
            unseal(SMALL.stream, SavedCheckpoint(SMALL.position, bytes(blob)))


def test_every_truncation_of_a_small_one_is_refused() -> None:
    sealed = seal(SMALL).blob
    for size in range(len(sealed)):
        with pytest.raises(Damaged):
            unseal(SMALL.stream, SavedCheckpoint(SMALL.position, sealed[:size]))


def test_bytes_after_the_end_are_refused() -> None:
    with pytest.raises(Damaged):
        unseal(SMALL.stream, SavedCheckpoint(SMALL.position, seal(SMALL).blob + b"\x00"))


def test_a_checkpoint_of_another_stream_is_refused() -> None:
    with pytest.raises(Damaged, match="sealed as 3-7 of session:a"):
        unseal("session:b", seal(SMALL))


def test_a_checkpoint_under_another_position_is_refused() -> None:
    with pytest.raises(Damaged, match="sealed as 3-7"):
        unseal(SMALL.stream, SavedCheckpoint(Position(3, 8), seal(SMALL).blob))
