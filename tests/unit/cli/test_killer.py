"""A kill waits until the server has settled, whoever is away meanwhile."""

import asyncio
from pathlib import Path
from typing import cast

import pytest

from undying.cli import killer as module
from undying.cli.killer import Killer
from undying.cli.management import Management
from undying.cli.own_server import OwnServer
from undying.protocol.data import JsonObject
from undying.protocol.errors import Code, UndyingError, error

SPARE: JsonObject = {"id": "spare:1", "kind": "spare", "state": "live", "pid": 3}


def _session(state: str = "live", pid: int = 7) -> JsonObject:
    return {"id": "session:s", "kind": "session", "state": state, "pid": pid}


class Told:
    """A management API that gives one answer after the other, the last one for ever; None is no answer."""

    def __init__(self, *answers: list[JsonObject] | None) -> None:
        self._answers = list(answers)
        self.asked = 0

    def status(self) -> JsonObject:
        self.asked += 1
        rows = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if rows is None:
            raise error(Code.UNAVAILABLE, "no answer")
        return {"actors": [*rows]}


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_S", 0.0)


def _killer(told: Told) -> Killer:
    return Killer(OwnServer(cast(Management, told), 1, Path()), asyncio.get_running_loop().time)


async def test_a_server_has_settled_when_everything_is_live_and_the_spares_are_there() -> None:
    told = Told([_session("restarting"), SPARE], [_session()], [_session(), SPARE])
    assert await _killer(told).settled(1) == [_session(), SPARE]
    assert told.asked == 3


async def test_no_answer_is_waited_out_for_the_gateway_may_be_what_was_killed() -> None:
    told = Told(None, None, [SPARE])
    assert await _killer(told).settled(1) == [SPARE]


async def test_a_row_that_still_tells_of_the_dead_process_does_not_count() -> None:
    told = Told([_session(), SPARE], [SPARE], [_session(pid=8), SPARE])
    await _killer(told).settled(1, "session:s", not_pid=7)
    assert told.asked == 3


async def test_a_server_that_does_not_settle_is_an_error_that_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SETTLED_S", 0.05)
    with pytest.raises(UndyingError, match="no 2 spares and no live root"):
        await _killer(Told([SPARE])).settled(2, "root")
