"""The embedded server: started, killed, orphaned, started again; what was acknowledged is there."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest

from persistence.durability import Durability
from persistence.embedded import LOG_BYTES_MAX, EmbeddedStore, EmbeddedStoreError
from persistence.redis_store import RedisStore
from persistence.store import Append, Entry
from undying.protocol.position import NOWHERE, Position

pytestmark = pytest.mark.store

TABLE = "session:table"
OWNER = """
import asyncio, sys
from pathlib import Path
from persistence.embedded import EmbeddedStore

server = EmbeddedStore(Path(sys.argv[1]))
url = asyncio.run(server.start())
print(server.pid, url, flush=True)
sys.stdin.read()
"""


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[EmbeddedStore]:
    server = EmbeddedStore(tmp_path)
    yield server
    await server.stop()


async def write(url: str, seqs: range) -> None:
    store = await RedisStore.open(url)
    for seq in seqs:
        follows = NOWHERE if seq == 0 else Position(1, seq - 1)
        assert await store.append([Append(TABLE, Entry(Position(1, seq), seq, True, b"x" * 100), follows)]) == [None]
    await store.close()


async def written(url: str) -> list[int]:
    store = await RedisStore.open(url)
    entries = await store.read(TABLE, NOWHERE, 1000)
    await store.close()
    return [entry.position.seq for entry in entries]


async def holds(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - the death of a process that is not our child can only be polled
            await asyncio.sleep(0.005)


def lives(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def start_owner(data_dir: Path) -> tuple[subprocess.Popen[str], int, str]:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(data_dir)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    pid, url = owner.stdout.readline().split()
    return owner, int(pid), url


def start_bystander() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)


async def test_what_was_acknowledged_is_there_after_the_server_is_killed(server: EmbeddedStore) -> None:
    await write(await server.start(), range(100))
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    await holds(lambda: server.pid is None)
    assert await written(await server.start()) == list(range(100))


async def test_half_an_entry_at_the_end_of_the_file_does_not_keep_the_server_from_starting(
    server: EmbeddedStore, tmp_path: Path
) -> None:
    await write(await server.start(), range(10))
    await server.stop()
    (journal,) = (tmp_path / "store" / "appendonlydir").glob("*.incr.aof")
    os.truncate(journal, journal.stat().st_size - 5)
    assert await written(await server.start()) == list(range(9))


async def test_stop_ends_the_server_and_start_brings_everything_back(server: EmbeddedStore) -> None:
    url = await server.start()
    pid = server.pid
    await write(url, range(5))
    await server.stop()
    assert server.pid is None
    assert pid is not None
    assert not lives(pid)
    assert await written(await server.start()) == list(range(5))


async def test_starting_twice_is_starting_once(server: EmbeddedStore) -> None:
    url, pid = await server.start(), server.pid
    assert (await server.start(), server.pid) == (url, pid)


async def test_a_second_owner_of_a_data_directory_is_refused(server: EmbeddedStore, tmp_path: Path) -> None:
    url = await server.start()
    with pytest.raises(EmbeddedStoreError, match=f"pid {os.getpid()}"):
        await EmbeddedStore(tmp_path).start()
    await write(url, range(1))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the server outlives its owner until the next start")
async def test_the_server_ends_when_its_owner_is_killed(server: EmbeddedStore, tmp_path: Path) -> None:
    owner, pid, url = start_owner(tmp_path)
    await write(url, range(20))
    owner.kill()
    owner.communicate()
    await holds(lambda: not lives(pid))
    assert await written(await server.start()) == list(range(20))


@pytest.mark.skipif(sys.platform != "linux", reason="stopped by a signal that only Linux sends")
async def test_a_server_that_outlived_its_owner_is_ended_before_a_new_one_starts(tmp_path: Path) -> None:
    owner, pid, url = start_owner(tmp_path)
    await write(url, range(20))
    os.kill(pid, signal.SIGSTOP)  # so the SIGTERM of the kernel waits
    owner.kill()
    owner.communicate()
    assert lives(pid)
    successor = EmbeddedStore(tmp_path, stop_timeout_s=0.3)
    try:
        assert await written(await successor.start()) == list(range(20))
        assert not lives(pid)
    finally:
        await successor.stop()


async def test_a_process_that_only_has_the_pid_of_the_file_is_left_alone(server: EmbeddedStore, tmp_path: Path) -> None:
    await server.start()
    await server.stop()
    bystander = start_bystander()
    (tmp_path / "store" / "valkey.pid").write_text(str(bystander.pid))
    await server.start()
    assert bystander.poll() is None
    bystander.communicate()


async def test_a_server_that_can_not_start_says_why(server: EmbeddedStore, tmp_path: Path) -> None:
    await write(await server.start(), range(3))
    await server.stop()
    (journal,) = (tmp_path / "store" / "appendonlydir").glob("*.incr.aof")
    journal.write_bytes(b"this is no journal" + journal.read_bytes())
    with pytest.raises(EmbeddedStoreError, match="Bad file format"):
        await server.start()


async def test_a_data_directory_with_a_long_path_works(tmp_path: Path) -> None:
    server = EmbeddedStore(tmp_path / ("d" * 150))
    try:
        await write(await server.start(), range(3))
    finally:
        await server.stop()


async def test_a_loopback_port_with_a_password_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: "/" + "t" * 150)
    server = EmbeddedStore(tmp_path / ("d" * 150))
    try:
        url = await server.start()
        assert url.startswith("redis://:")
        await write(url, range(3))
    finally:
        await server.stop()


async def test_memory_durability_refuses_a_directory_that_holds_a_journal(server: EmbeddedStore, tmp_path: Path) -> None:
    await server.start()
    await server.stop()
    with pytest.raises(EmbeddedStoreError, match="'memory'"):
        await EmbeddedStore(tmp_path, Durability.MEMORY).start()


async def test_a_long_log_is_moved_aside(server: EmbeddedStore) -> None:
    server.log_path.parent.mkdir(parents=True)
    server.log_path.write_bytes(b"x" * (LOG_BYTES_MAX + 1))
    await server.start()
    assert server.log_path.stat().st_size < LOG_BYTES_MAX


async def test_outside_of_the_main_thread_it_does_not_start(server: EmbeddedStore) -> None:
    with pytest.raises(EmbeddedStoreError, match="main thread"):
        await asyncio.to_thread(asyncio.run, server.start())
