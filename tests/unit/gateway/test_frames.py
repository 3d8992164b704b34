"""Frames made once for everybody who gets the same."""

from __future__ import annotations

import json
from typing import Any

import msgpack

from gateway.encoded import Encoded
from gateway.frames import BatchFrames, snapshot_frame
from undying.protocol.events import GMS, Viewer
from undying.protocol.ids import Role
from undying.protocol.link import Batch

GM, ANN, BOB = Viewer("gm", Role.GM), Viewer("ann", Role.PLAYER), Viewer("bob", Role.PLAYER)


def entry(n: int, *views: tuple[list[str] | None, str]) -> dict[str, Any]:
    if views[0][0] is None:
        return {"n": n, "k": "said", "d": {"text": views[0][1]}, "by": "x", "at": 1}
    return {"n": n, "k": "said", "by": "x", "at": 1, "v": [[who, {"text": text}] for who, text in views]}


def frames(*entries: dict[str, Any]) -> BatchFrames:
    public = all("v" not in each for each in entries)
    return BatchFrames(
        Batch("ev", "session:t", 2, entries[0]["n"], entries[-1]["n"], public, msgpack.packb(list(entries)), b"")
    )


def read(out: Encoded) -> Any:
    return json.loads(out.payload) if out.text else msgpack.unpackb(out.payload)


def test_both_encodings_carry_the_same_frame() -> None:
    made = frames(entry(3, (None, "a")), entry(4, ([GMS], "b")))
    one, other = made.frame(ANN, "msgpack"), made.frame(ANN, "json")
    assert (one.text, other.text) == (False, True)
    assert read(one) == read(other)
    assert read(one) == {
        "t": "ev",
        "s": "session:t",
        "e": 2,
        "b": [{"n": 3, "k": "said", "d": {"text": "a"}, "by": "x", "at": 1}, {"n": 4, "skip": 1}],
    }


def test_public_events_reach_everybody_as_one_frame_with_the_bytes_of_the_journal() -> None:
    made = frames(entry(3, (None, "a")))
    assert made.frame(ANN, "msgpack") is made.frame(GM, "msgpack")
    assert made.frame(ANN, "msgpack").payload.endswith(made.batch.body)
    assert made.frame(ANN, "json") is made.frame(GM, "json")


def test_who_sees_the_same_parts_shares_a_frame_and_nobody_else_does() -> None:
    made = frames(entry(1, ([GMS], "secret")), entry(2, (["ann"], "whisper")), entry(3, (None, "loud")))
    carl = Viewer("carl", Role.SPECTATOR)
    assert made.frame(BOB, "msgpack") is made.frame(carl, "msgpack")
    texts = {who.user: [each.get("d", {}).get("text") for each in read(made.frame(who, "json"))["b"]] for who in (GM, ANN, BOB)}
    assert texts == {"gm": ["secret", None, "loud"], "ann": [None, "whisper", "loud"], "bob": [None, "loud"]}


def test_the_first_view_that_fits_is_shown() -> None:
    made = frames(entry(1, ([GMS], "whole"), (["ann"], "part")))
    texts = [read(made.frame(who, "json"))["b"][0].get("d") for who in (GM, ANN, BOB)]
    assert texts == [{"text": "whole"}, {"text": "part"}, None]


def test_a_resume_inside_a_batch_gets_the_events_behind_its_position_only() -> None:
    made = frames(entry(3, (None, "a")), entry(4, ([GMS], "b")), entry(5, (None, "c")))
    assert [each["n"] for each in read(made.frame_after(GM, "msgpack", 3))["b"]] == [4, 5]
    assert read(made.frame_after(ANN, "json", 3))["b"][0] == {"n": 4, "skip": 1}
    assert [each["n"] for each in read(made.frame(GM, "msgpack"))["b"]] == [3, 4, 5]


def test_a_snapshot_is_the_same_in_both_encodings() -> None:
    state = msgpack.packb({"lines": ["ä"], "n": 1.5})
    one, other = (snapshot_frame("session:t", (2, 7), state, encoding) for encoding in ("msgpack", "json"))
    assert read(one) == read(other) == {"t": "snapshot", "s": "session:t", "pos": [2, 7], "state": {"lines": ["ä"], "n": 1.5}}
