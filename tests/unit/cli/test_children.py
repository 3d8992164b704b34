"""Processes that a server started: found, recorded, and none left."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from undying.cli import children
from undying.cli.datadir import DataDir, Started

SLEEPER = "import time; print('up', flush=True); time.sleep(600)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPER}"
PARENT = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEPER!r}]).wait()"

NEGLECTFUL = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {SLEEPER!r}]); time.sleep(600)"

Start = Callable[[str], Started]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start processes that say `up`; kill them all at the end."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(code: str) -> Started:
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        return Started(process.pid, psutil.Process(process.pid).create_time())

    yield begin
    for process in started:
        children.end([Started(process.pid, psutil.Process(process.pid).create_time())] if process.poll() is None else [])
        process.communicate()


def _alive(pid: int) -> bool:
    return bool(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)


def test_a_process_is_ended_with_all_below_it(start: Start) -> None:
    parent = start(PARENT)
    (below,) = psutil.Process(parent.pid).children()
    assert sorted(children.end([parent])) == sorted([parent.pid, below.pid])
    assert not _alive(parent.pid)
    assert not _alive(below.pid)


def test_a_process_that_ignores_being_asked_is_killed(start: Start) -> None:
    stubborn = start(STUBBORN)
    assert children.end([stubborn], grace_s=0.05) == [stubborn.pid]
    assert not _alive(stubborn.pid)


def test_a_process_that_ended_is_not_waited_for_when_its_parent_never_asks_after_it(start: Start) -> None:
    parent = psutil.Process(start(NEGLECTFUL).pid)
    (ended,) = parent.children()
    known = Started(ended.pid, ended.create_time())
    ended.kill()
    while ended.status() != psutil.STATUS_ZOMBIE:
        pass
    assert children.end([known]) == []


def test_another_process_that_got_the_pid_later_is_left_alone(start: Start) -> None:
    other = start(SLEEPER)
    assert children.end([Started(other.pid, other.created - 3600)]) == []
    assert _alive(other.pid)


def test_a_process_that_is_gone_is_no_error(start: Start) -> None:
    gone = start(SLEEPER)
    children.end([gone])
    assert children.end([gone]) == []


def test_what_runs_below_is_found_and_what_ended_is_not(start: Start) -> None:
    process = start(PARENT)
    pids = {found.pid for found in children.running()}
    assert {process.pid, psutil.Process(process.pid).children()[0].pid} <= pids
    children.end([process])
    assert process.pid not in {found.pid for found in children.running()}


def test_what_was_started_under_a_mark_is_found_by_it_wherever_it_hangs_in_the_tree(start: Start) -> None:
    with children.marking("this-server"):
        parent = start(PARENT)
    with children.marking("another-server"):
        start(SLEEPER)
    start(SLEEPER)
    (below,) = psutil.Process(parent.pid).children()
    psutil.Process(parent.pid).kill()
    while psutil.Process(below.pid).ppid() == parent.pid:
        pass
    assert [found.pid for found in children.marked("this-server")] == [below.pid]
    assert children.end(children.marked("this-server")) == [below.pid]
    assert children.marked("this-server") == []


def test_who_asks_is_not_among_the_marked_though_it_has_the_mark(start: Start) -> None:
    ask = "from undying.cli import children; print('up' if not children.marked('mine') else 'found itself', flush=True)"
    with children.marking("mine"):
        start(f"{ask}; import time; time.sleep(600)")


async def test_what_runs_is_recorded_for_the_next_server(tmp_path: Path, start: Start) -> None:
    process = start(SLEEPER)
    directory = DataDir.open(tmp_path)
    async with children.recorded(directory):
        assert process in directory.left_behind()
    assert children.end([left for left in directory.left_behind() if left.pid == process.pid]) == [process.pid]
    directory.close()
