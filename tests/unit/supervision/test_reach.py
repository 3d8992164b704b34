"""Reaching a process: over a direct stream where it listens, by the runtime where it does not (any more)."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.direct import DirectServer
from actors.runtime import Inside, Program, ProgramFailed
from actors.runtime_local import LocalRuntime
from supervision.reach import DIRECT, Reach, Ways
from undying.protocol.data import JsonObject
from undying.protocol.errors import Code, UndyingError, error

NAME = "supervisor:sessions"


class Supervisor:
    """Says how it was reached."""

    def __init__(self, way: str) -> None:
        self._way = way

    async def start(self) -> None:
        return None

    async def stop(self) -> None:
        return None

    async def locate(self, stream: str) -> str:
        if stream == "refused":
            raise error(Code.NOT_FOUND, "no such table", stream=stream)
        if stream == "broken":
            raise KeyError(stream)
        return f"{stream} by {self._way}"

    async def status(self) -> str:
        return self._way


@pytest.fixture
def ways() -> Iterator[Ways]:
    """A folder with a path that is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="undying-") as name:
        yield Ways(lambda process: Path(name) / "h" / process)


async def reach(ways: Ways) -> Reach:
    def build(_: JsonObject, __: Inside) -> Supervisor:
        return Supervisor("runtime")

    runtime = LocalRuntime({"sessions": build})
    await runtime.spawn(NAME, Program("sessions"))
    return Reach(runtime, NAME, random.Random(), ways=ways)


async def test_what_people_wait_for_goes_directly_and_the_rest_by_the_runtime(ways: Ways) -> None:
    server = ways.server(NAME)
    await server.start(Supervisor("stream"))
    way = await reach(ways)
    assert await way.call("locate", "t") == "t by stream"
    assert await way.call("status") == "runtime"
    await server.stop()


async def test_a_process_that_does_not_listen_is_reached_by_the_runtime(ways: Ways) -> None:
    assert await (await reach(ways)).call("locate", "t") == "t by runtime"


async def test_a_stream_that_closes_is_no_obstacle_and_the_next_process_of_the_name_is_reached_directly_again(
    ways: Ways,
) -> None:
    first, second = ways.server(NAME), ways.server(NAME)
    await first.start(Supervisor("stream"))
    way = await reach(ways)
    assert await way.call("locate", "t") == "t by stream"
    await first.stop()
    assert await way.call("locate", "t") == "t by runtime"
    await second.start(Supervisor("next stream"))
    assert await way.call("locate", "t") == "t by next stream"
    await second.stop()


async def test_refusals_and_defects_arrive_as_they_do_by_the_runtime(ways: Ways) -> None:
    server = ways.server(NAME)
    await server.start(Supervisor("stream"))
    way = await reach(ways)
    with pytest.raises(UndyingError) as refused:
        await way.call("locate", "refused")
    assert (refused.value.failure.code, refused.value.failure.context["stream"]) == (Code.NOT_FOUND, "refused")
    with pytest.raises(ProgramFailed):
        await way.call("locate", "broken")
    await server.stop()


def test_a_process_of_which_nobody_is_in_a_hurry_listens_nowhere() -> None:
    assert isinstance(Ways().server("root"), DirectServer)
    assert "root" not in DIRECT
