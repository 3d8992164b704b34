"""Bytes that are not RESP2 are refused, not guessed at."""

from __future__ import annotations

import pytest

from persistence.resp import ProtocolError, Replies


@pytest.mark.parametrize("data", [b"%1\r\n", b"hello\r\n", b":one\r\n", b"$x\r\n", b"*?\r\n"])
def test_what_is_no_reply_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        Replies().feed(data)


def test_a_null_array_is_none() -> None:
    replies = Replies()
    replies.feed(b"*-1\r\n")
    assert replies.ready == [None]


def test_a_reply_that_is_not_complete_is_not_ready() -> None:
    replies = Replies()
    replies.feed(b"*2\r\n:1\r\n$3\r\nab")
    assert replies.ready == []
