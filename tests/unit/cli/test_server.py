"""A whole server over stand-in parts: what starts, in which order it ends, and what happens when a part fails."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import pytest
from structlog.testing import capture_logs

from actors.runtime import Exit, ProcessDied, ProcessInfo, Program, ProgramFailed, Ref
from undying.cli import datadir, server
from undying.cli.datadir import DataDir
from undying.cli.server import Cluster, Parts, run
from undying.cli.settings import ServeSettings
from undying.protocol.errors import Code, UndyingError, error


@dataclass
class Script:
    """What the parts do, and a diary of what was done to them."""

    diary: list[str] = field(default_factory=list)
    program: Program | None = None
    start_fails: bool = False
    store_fails: bool = False
    stop_hangs: bool = False
    stop_dies: bool = False
    ready: bool = True
    stop_at: str = ""
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    left: list[str] = field(default_factory=list)
    roots_lost: int = 0
    nodes: list[str] = field(default_factory=lambda: ["n1"])
    broken: asyncio.Event = field(default_factory=asyncio.Event)

    async def until_broken(self) -> str:
        await self.broken.wait()
        return "raylet"

    def note(self, what: str) -> None:
        self.diary.append(what)
        if what == self.stop_at:
            self.stop.set()


class StartedOver(Exception):
    """In place of the end of this program and the beginning of another."""


@dataclass
class FakeRef:
    """The root's."""

    script: Script
    name: str = "root"

    async def call(self, method: str, *args: Any) -> Any:
        self.script.note(f"root {method}")
        if self.script.stop_hangs:
            await asyncio.Event().wait()
        if self.script.stop_dies:
            raise ProcessDied("root")

    async def run(self, program: Program) -> ProcessInfo:
        raise NotImplementedError

    async def prepare(self, program: Program) -> None:
        raise NotImplementedError

    async def info(self) -> ProcessInfo:
        return ProcessInfo(self.name, 1, "here", self.name)

    async def watch(self) -> Exit:
        if self.script.roots_lost:
            self.script.roots_lost -= 1
            return Exit("failed")
        await asyncio.Event().wait()
        raise AssertionError


@dataclass
class FakeRuntime:
    """A runtime that knows processes by name only."""

    script: Script

    async def spawn(self, name: str, program: Program | None = None, *, restarts: bool = False, node: str = "") -> Ref:
        self.script.note(f"spawn {name} restarts={restarts}")
        self.script.program = program
        if self.script.start_fails:
            raise ProgramFailed("no luck")
        self.script.left.append(name)
        return FakeRef(self.script)

    async def find(self, name: str) -> Ref | None:
        return FakeRef(self.script) if name in self.script.left else None

    async def names(self) -> list[str]:
        return list(self.script.left)

    async def nodes(self) -> list[str]:
        return self.script.nodes

    def has_ended(self, known: ProcessInfo) -> bool:
        return False

    async def kill(self, name: str, known: ProcessInfo | None = None) -> None:
        if name in self.script.left:
            self.script.left.remove(name)
            self.script.note(f"kill {name}")


def _parts(script: Script) -> Parts:
    @asynccontextmanager
    async def store(_directory: DataDir, _settings: ServeSettings) -> AsyncIterator[str]:
        if script.store_fails:
            raise error(Code.DATABASE_UNAVAILABLE, "no disk")
        script.note("store up")
        yield "unix:///store.sock"
        script.note("store down")

    @asynccontextmanager
    async def cluster(_directory: DataDir, _settings: ServeSettings) -> AsyncIterator[Cluster]:
        script.note("cluster up")
        try:
            yield Cluster(FakeRuntime(script), script.until_broken)
        finally:
            script.note("cluster down")

    def start_over() -> NoReturn:
        script.note("start over")
        raise StartedOver

    async def ready(_url: str) -> bool:
        return script.ready

    return Parts(store=store, cluster=cluster, ready=ready, start_over=start_over)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[DataDir]:
    opened = DataDir.open(tmp_path)
    yield opened
    opened.close()


def _settings(tmp_path: Path, **more: Any) -> ServeSettings:
    return ServeSettings(port=0, data_dir=tmp_path, **more)


async def _serve_and_stop(script: Script, settings: ServeSettings, directory: DataDir) -> list[str]:
    urls: list[str] = []

    def announce(url: str) -> None:
        urls.append(url)
        script.note("ready")
        script.stop.set()

    await run(settings, directory, _parts(script), script.stop, announce)
    return urls


async def test_a_server_starts_from_the_store_up_and_ends_the_other_way_round(directory: DataDir, tmp_path: Path) -> None:
    script = Script()
    await _serve_and_stop(script, _settings(tmp_path), directory)
    assert script.diary == [
        "store up",
        "cluster up",
        "spawn root restarts=True",
        "ready",
        "root stop",
        "kill root",
        "cluster down",
        "store down",
    ]


async def test_the_root_is_told_everything_that_was_decided_on_the_way(directory: DataDir, tmp_path: Path) -> None:
    script = Script()
    (url,) = await _serve_and_stop(script, _settings(tmp_path, spares=7), directory)
    assert script.program is not None
    told = ServeSettings.from_plain(script.program.settings)
    assert (told.redis_url, told.admin_token, told.spares) == ("unix:///store.sock", directory.admin_token(), 7)
    assert url == f"http://127.0.0.1:{told.port}"
    assert told.port > 0


async def test_a_token_that_somebody_chose_counts_in_place_of_the_kept_one(directory: DataDir, tmp_path: Path) -> None:
    script = Script()
    await _serve_and_stop(script, _settings(tmp_path, admin_token="chosen"), directory)
    assert script.program is not None
    assert script.program.settings["admin_token"] == "chosen"
    assert directory.admin_token() != "chosen"


async def test_a_given_store_is_used_and_none_is_started(directory: DataDir, tmp_path: Path) -> None:
    script = Script()
    await _serve_and_stop(script, _settings(tmp_path, redis_url="redis://db"), directory)
    assert "store up" not in script.diary
    assert script.program is not None
    assert script.program.settings["redis_url"] == "redis://db"


async def test_the_url_is_written_for_the_management_commands(directory: DataDir, tmp_path: Path) -> None:
    (url,) = await _serve_and_stop(Script(), _settings(tmp_path), directory)
    assert datadir.read_fact(tmp_path / "url") == url


async def test_processes_of_an_earlier_server_are_ended_before_the_root_starts(directory: DataDir, tmp_path: Path) -> None:
    script = Script(left=["host:1", "root"])
    await _serve_and_stop(script, _settings(tmp_path), directory)
    assert script.diary[2:5] == ["kill root", "kill host:1", "spawn root restarts=True"]


async def test_a_root_that_does_not_start_ends_what_was_started_before_it(directory: DataDir, tmp_path: Path) -> None:
    script = Script(start_fails=True)
    with pytest.raises(ProgramFailed):
        await _serve_and_stop(script, _settings(tmp_path), directory)
    assert script.diary[-1] == "cluster down"
    assert datadir.read_fact(tmp_path / "url") is None


async def test_a_store_that_does_not_start_is_the_end_of_it(directory: DataDir, tmp_path: Path) -> None:
    script = Script(store_fails=True)
    with pytest.raises(UndyingError) as failed:
        await _serve_and_stop(script, _settings(tmp_path), directory)
    assert failed.value.failure.code is Code.DATABASE_UNAVAILABLE
    assert script.diary == []


async def test_a_taken_port_is_found_before_anything_starts(directory: DataDir, tmp_path: Path) -> None:
    script = Script()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(UndyingError) as failed:
            await _serve_and_stop(script, _settings(tmp_path).replace(port=other.getsockname()[1]), directory)
    assert failed.value.failure.code is Code.ALREADY_EXISTS
    assert script.diary == []


async def test_a_server_that_does_not_get_ready_in_time_is_ended(
    directory: DataDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "READY_S", 0.01)
    script = Script(ready=False)
    with pytest.raises(UndyingError, match="not ready"):
        await _serve_and_stop(script, _settings(tmp_path), directory)
    assert script.diary[-2:] == ["kill root", "cluster down"]


@pytest.mark.parametrize("moment", ["store up", "cluster up", "spawn root restarts=True"])
async def test_a_stop_during_the_start_ends_it_without_getting_ready(directory: DataDir, tmp_path: Path, moment: str) -> None:
    script = Script(stop_at=moment, ready=False)
    assert await _serve_and_stop(script, _settings(tmp_path), directory) == []
    assert script.diary[-1] == "store down"
    assert script.left == []


async def test_a_root_that_does_not_drain_in_time_is_killed(
    directory: DataDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "DRAIN_S", 0.01)
    script = Script(stop_hangs=True)
    await _serve_and_stop(script, _settings(tmp_path), directory)
    assert script.diary[-4:] == ["root stop", "kill root", "cluster down", "store down"]


async def test_a_root_that_is_gone_for_good_is_followed_by_another(directory: DataDir, tmp_path: Path) -> None:
    script = Script(roots_lost=2, ready=False)
    starting = asyncio.create_task(_serve_and_stop(script, _settings(tmp_path), directory))
    while script.diary.count("spawn root restarts=True") < 3:  # noqa: ASYNC110 - what it waits for is in a diary
        await asyncio.sleep(0)
    script.ready = True
    await starting
    assert script.diary.count("spawn root restarts=True") == 3


async def test_a_root_that_dies_while_it_drains_does_not_stop_the_end(directory: DataDir, tmp_path: Path) -> None:
    script = Script(stop_dies=True)
    await _serve_and_stop(script, _settings(tmp_path), directory)
    assert script.diary[-3:] == ["kill root", "cluster down", "store down"]


async def test_a_server_whose_cluster_breaks_starts_over_and_ends_nothing_in_order(directory: DataDir, tmp_path: Path) -> None:
    script = Script()
    with pytest.raises(StartedOver):
        await run(_settings(tmp_path), directory, _parts(script), script.stop, lambda _: script.broken.set())
    assert script.diary.index("start over") < script.diary.index("cluster down")


async def test_a_server_that_did_not_end_in_order_comes_back_on_the_free_port_that_it_had(
    directory: DataDir, tmp_path: Path
) -> None:
    urls: list[str] = []
    for _ in range(2):
        script = Script()

        def announced(url: str, script: Script = script) -> None:
            urls.append(url)
            script.stop.set()

        await run(_settings(tmp_path), directory, _parts(script), script.stop, announced)
    assert urls[0] == urls[1]
    directory.withdraw()
    assert directory.port_left_behind() is None


async def test_a_server_whose_last_port_was_taken_meanwhile_takes_another(directory: DataDir, tmp_path: Path) -> None:
    with socket.socket() as taker:
        taker.bind(("127.0.0.1", 0))
        taker.listen()
        taken = taker.getsockname()[1]
        directory.announce(f"http://127.0.0.1:{taken}")
        script, urls = Script(), list[str]()

        def announced(url: str) -> None:
            urls.append(url)
            script.stop.set()

        await run(_settings(tmp_path), directory, _parts(script), script.stop, announced)
    assert urls
    assert urls[0] != f"http://127.0.0.1:{taken}"


async def test_a_server_of_several_nodes_says_what_can_not_be_reached_from_the_others(
    directory: DataDir, tmp_path: Path
) -> None:
    script = Script(nodes=["n1", "n2"])
    with capture_logs() as logs:
        await _serve_and_stop(script, _settings(tmp_path), directory)
    warned = [line["event"] for line in logs if line["log_level"] == "warning"]
    assert [event.rpartition("give ")[2] for event in warned] == ["--redis-url", "--host"]
    open_to_all = _settings(tmp_path, host="0.0.0.0", redis_url="redis://elsewhere")
    with capture_logs() as logs:
        await _serve_and_stop(Script(nodes=["n1", "n2"]), open_to_all, directory)
    assert not [line for line in logs if line["log_level"] == "warning"]
