"""Direct streams to a program, over real sockets."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from actors.direct import DirectCaller, DirectServer, connect
from actors.runtime import CallLost, ProcessDied, ProgramFailed
from undying.protocol.errors import Code, UndyingError, error


class Program:
    """Echoes, waits, refuses and breaks."""

    def __init__(self) -> None:
        self.released = asyncio.Event()
        self.begun = asyncio.Event()

    async def echo(self, *args: object) -> list[object]:
        return list(args)

    async def wait(self) -> str:
        self.begun.set()
        await self.released.wait()
        return "waited"

    async def refuse(self) -> None:
        raise error(Code.RESUME_REFUSED, "not you", gateway="g1")

    async def broken(self) -> None:
        raise RuntimeError("a defect")

    async def hidden(self) -> str:
        return "not for streams"


METHODS = frozenset({"echo", "wait", "refuse", "broken"})


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a path that is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="undying-") as name:
        yield Path(name) / "h"


@pytest.fixture
def file(folder: Path) -> Path:
    """A file where a folder would have to be."""
    folder.mkdir()
    (folder / "a file").touch()
    return folder / "a file"


@pytest.fixture
def open_to_all(folder: Path) -> Path:
    """A folder in which everybody may write."""
    (folder / "open").mkdir(parents=True)
    (folder / "open").chmod(0o777)
    return folder / "open"


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[tuple[Program, DirectServer, DirectCaller]]:
    """A program, its server, and a caller."""
    program, server = Program(), DirectServer(folder / "process:a", METHODS)
    await server.start(program)
    caller = await connect(folder / "process:a")
    try:
        yield program, server, caller
    finally:
        caller.close()
        await server.stop()


async def test_what_is_asked_is_answered(folder: Path) -> None:
    async with served(folder) as (_, _, caller):
        assert await caller.call("echo", "g1", 7, b"\x00\xff") == ["g1", 7, b"\x00\xff"]


async def test_a_call_that_waits_holds_up_no_other(folder: Path) -> None:
    async with served(folder) as (program, _, caller):
        waiting = asyncio.create_task(caller.call("wait"))
        assert await caller.call("echo", 1) == [1]
        assert not waiting.done()
        program.released.set()
        assert await waiting == "waited"


async def test_a_large_message_comes_whole_and_others_behind_it(folder: Path) -> None:
    async with served(folder) as (_, _, caller):
        large = bytes(range(256)) * 40_000
        answers = await asyncio.gather(*(caller.call("echo", large if at == 0 else at) for at in range(20)))
        assert answers == [[large], *([at] for at in range(1, 20))]


async def test_a_failure_of_the_taxonomy_arrives_whole_and_a_defect_as_text(folder: Path) -> None:
    async with served(folder) as (_, _, caller):
        with pytest.raises(UndyingError) as refused:
            await caller.call("refuse")
        assert (refused.value.failure.code, refused.value.failure.context) == (Code.RESUME_REFUSED, {"gateway": "g1"})
        with pytest.raises(ProgramFailed, match="a defect"):
            await caller.call("broken")


@pytest.mark.parametrize("method", ["hidden", "_private", "no_such"])
async def test_only_what_is_meant_for_streams_can_be_called(folder: Path, method: str) -> None:
    async with served(folder) as (_, _, caller):
        with pytest.raises(ProgramFailed, match="no method"):
            await caller.call(method)


async def test_calls_under_way_fail_when_the_other_end_is_gone_and_later_ones_at_once(folder: Path) -> None:
    async with served(folder) as (program, server, caller):
        waiting = asyncio.create_task(caller.call("wait"))
        await program.begun.wait()
        await server.stop()
        with pytest.raises(ProcessDied):
            await waiting
        with pytest.raises(ProcessDied):
            await caller.call("echo")


async def test_a_caller_that_gives_up_a_call_hears_nothing_of_it_later(folder: Path) -> None:
    async with served(folder) as (program, _, caller):
        waiting = asyncio.create_task(caller.call("wait"))
        await program.begun.wait()
        waiting.cancel()
        program.released.set()
        assert await caller.call("echo", "next") == ["next"]


async def test_bytes_that_are_no_message_end_the_stream_and_no_other(folder: Path) -> None:
    async with served(folder) as (_, _, caller):
        reader, writer = await asyncio.open_unix_connection(folder / "process:a")
        writer.write(b"\xff\xff\xff\xff and so on")
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
        assert await caller.call("echo", "well") == ["well"]


async def test_where_nobody_listens_no_stream_is_opened(folder: Path) -> None:
    with pytest.raises(CallLost):
        await connect(folder / "nobody")


async def test_a_program_that_can_not_listen_goes_on_without(file: Path) -> None:
    server = DirectServer(file / "process:a", METHODS)
    await server.start(Program())
    with pytest.raises(CallLost):
        await connect(file / "process:a")
    await server.stop()


async def test_nobody_listens_or_connects_where_others_could_have_put_a_socket(open_to_all: Path) -> None:
    server = DirectServer(open_to_all / "process:a", METHODS)
    await server.start(Program())
    assert not (open_to_all / "process:a").exists()
    with pytest.raises(CallLost):
        await connect(open_to_all / "process:a")
    await server.stop()
