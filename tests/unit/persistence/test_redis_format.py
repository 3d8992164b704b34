"""How entries look in Redis, and what its replies mean."""

from __future__ import annotations

import pytest

from persistence import redis_format as fmt
from persistence.resp import Replies, ReplyError
from persistence.store import Append, Damaged, Entry, Fenced, StoreUnavailable
from undying.protocol.ids import Kind
from undying.protocol.position import NOWHERE, Position

ENTRY = Entry(Position(2, 5), 4, True, b"body", b"", b"effects")
APPEND = Append("session:a", ENTRY, Position(2, 3))
FIELDS = {b"f": b"4", b"p": b"1", b"b": b"body", b"a": b"", b"e": b"effects"}


def test_keys_of_one_entity_share_a_hash_tag() -> None:
    assert fmt.journal_key("session:a") == b"undying:{session:a}:log"
    assert fmt.checkpoints_key("session:a") == b"undying:{session:a}:ckpt"


def test_server_wide_keys_have_their_own_names() -> None:
    assert fmt.directory_key(Kind.SESSION) == b"undying:directory:session"
    assert fmt.secret_key("signing") == b"undying:secret:signing"


def test_an_append_is_packed_as_one_xadd() -> None:
    replies = Replies()
    replies.feed(fmt.pack_append(APPEND))
    fields = [part for pair in FIELDS.items() for part in pair]
    assert replies.ready == [[b"XADD", b"undying:{session:a}:log", b"2-5", *fields]]


def test_an_entry_is_read_from_its_fields() -> None:
    assert fmt.read_entry("session:a", b"2-5", FIELDS) == ENTRY


@pytest.mark.parametrize("missing", FIELDS)
def test_an_entry_that_lacks_a_field_is_damaged(missing: bytes) -> None:
    fields = {name: value for name, value in FIELDS.items() if name != missing}
    with pytest.raises(Damaged, match="session:a"):
        fmt.read_entry("session:a", b"2-5", fields)


@pytest.mark.parametrize("raw", [b"", b"7", b"a-b", b"1-", b"-1-2"])
def test_an_entry_under_an_id_that_is_no_position_is_damaged(raw: bytes) -> None:
    with pytest.raises(Damaged):
        fmt.read_entry("session:a", raw, FIELDS)


def test_an_id_as_reply_means_written() -> None:
    assert fmt.read_outcome(APPEND, b"2-5") is None


def test_an_id_that_is_not_above_the_last_one_means_fenced() -> None:
    reply = ReplyError("ERR The ID specified in XADD is equal or smaller than the target stream top item")
    outcome = fmt.read_outcome(APPEND, reply)
    assert isinstance(outcome, Fenced)
    assert outcome.position == ENTRY.position


@pytest.mark.parametrize(
    "text", ["OOM command not allowed", "READONLY You can't write", "MISCONF disk", "LOADING", "WRONGTYPE"]
)
def test_any_other_refusal_means_known_not_to_be_written(text: str) -> None:
    outcome = fmt.read_outcome(APPEND, ReplyError(text))
    assert isinstance(outcome, StoreUnavailable)
    assert not outcome.unknown


def test_no_last_entry_is_nowhere() -> None:
    assert fmt.read_last([]) == NOWHERE


def test_the_last_entry_is_read_by_its_id() -> None:
    assert fmt.read_last([[b"3-4", [b"f", b"1"]]]) == Position(3, 4)


def test_a_last_entry_without_a_position_is_damaged() -> None:
    with pytest.raises(Damaged):
        fmt.read_last([[b"x", []]])
