"""What the SDK's state does with what it does not expect."""

from __future__ import annotations

import pytest

from undying.client.events import GONE, PRESENCE, SNAPSHOT, TableEvent
from undying.client.state import WINDOW, TableState, apply
from undying.protocol.data import JsonObject

SESSION = "session:t"
CHARACTER = "character:c"


@pytest.mark.parametrize(
    ("stream", "kind", "data"),
    [
        (SESSION, "sparkle", {}),
        (SESSION, "token.moved", {}),
        (SESSION, "token.moved", {"id": "unknown", "x": 1}),
        (SESSION, "member.removed", {}),
        (SESSION, "hp.changed", {"hp": 1, "max": 2, "temp": 0}),
        (CHARACTER, "hp.changed", {"hp": 1}),
        (CHARACTER, "sheet.changed", {"path": "inventory.x", "value": 1}),
        (CHARACTER, "sheet.changed", {"path": "name.first", "value": 1}),
        (CHARACTER, "chat.said", {"text": "a"}),
        ("provider:p", "anything", {}),
    ],
)
def test_an_event_that_means_nothing_or_lacks_something_changes_nothing(stream: str, kind: str, data: JsonObject) -> None:
    before: JsonObject = {"map": {"tokens": {}}, "members": {"u": {}}, "sheet": {"name": "Krusk", "inventory": []}}
    assert apply(before, TableEvent(stream, kind, data)) == before


def test_the_chat_is_a_window() -> None:
    state = TableState()
    state.apply(TableEvent(SESSION, SNAPSHOT, {"chat": []}))
    for n in range(WINDOW + 5):
        state.apply(TableEvent(SESSION, "chat.said", {"text": str(n)}))
    assert [line["text"] for line in state.chat if isinstance(line, dict)] == [str(n) for n in range(5, WINDOW + 5)]


def test_before_the_first_snapshot_everything_is_empty() -> None:
    state = TableState()
    assert (state.chat, state.tokens, state.members, state.characters, state.sheet("c")) == ([], {}, {}, {}, {})


def test_a_stream_that_is_gone_is_no_part_of_the_state() -> None:
    state = TableState()
    state.apply(TableEvent(CHARACTER, SNAPSHOT, {"sheet": {"name": "Krusk"}}))
    assert state.characters == {"c": {"name": "Krusk"}}
    state.apply(TableEvent(CHARACTER, GONE))
    assert state.characters == {}


def test_who_is_here_is_what_was_last_said() -> None:
    state = TableState()
    state.apply(TableEvent(SESSION, PRESENCE, {"users": [{"user": "u", "state": "online"}]}))
    state.apply(TableEvent(SESSION, PRESENCE, {"users": []}))
    assert state.presence == []
