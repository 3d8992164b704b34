"""A real server process: it gets ready, ends on a signal, and leaves nothing behind, whatever it was ended by."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from undying.cli import datadir
from undying.cli.management import is_ready

pytestmark = [pytest.mark.ray, pytest.mark.store]

REPOSITORY = Path(__file__).parents[3]
END_S = 60


class Serving:
    """One run of the small tree."""

    def __init__(self, data_dir: Path, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.cli.small_tree", str(data_dir)],
            stdout=subprocess.PIPE,
            cwd=REPOSITORY,
            env={**os.environ, **environment},
            text=True,
        )
        self.seen: list[psutil.Process] = []

    def url(self) -> str:
        """Wait for the line that says it is ready."""
        assert self.process.stdout is not None
        word, url = self.process.stdout.readline().split()
        assert word == "ready"
        self.seen = psutil.Process(self.process.pid).children(recursive=True)
        return str(url)

    def end(self, number: int) -> int:
        """Send a signal and wait for the end."""
        self.process.send_signal(number)
        return self.process.wait(END_S)

    def left(self) -> list[psutil.Process]:
        """Return which of its processes still live a moment later (the kernel takes one to end them)."""
        return [process for process in psutil.wait_procs(self.seen, timeout=5)[1] if process.status() != psutil.STATUS_ZOMBIE]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Serving]]:
    """Start servers on one data directory; nothing of them outlives the test."""
    started: list[Serving] = []

    def begin(**environment: str) -> Serving:
        started.append(Serving(tmp_path / "data", **environment))
        return started[-1]

    yield begin
    for serving in started:
        with suppress(psutil.NoSuchProcess):
            serving.seen += psutil.Process(serving.process.pid).children(recursive=True)
        serving.process.kill()
        serving.process.communicate()
        for process in serving.seen:
            with suppress(psutil.NoSuchProcess):
                process.kill()


def test_sigterm_ends_the_server_in_order_and_leaves_no_process(serve: Callable[..., Serving], tmp_path: Path) -> None:
    server = serve()
    url = server.url()
    assert is_ready(url, 5)
    assert datadir.read_fact(tmp_path / "data" / "url") == url
    assert len(server.seen) >= 4  # the store, Ray's own, the root, its child
    assert server.end(signal.SIGTERM) == 0
    assert server.left() == []
    assert not {"url", "run.json", "run"} & {path.name for path in (tmp_path / "data").iterdir()}


def test_what_a_killed_server_left_is_ended_by_the_next_one_on_its_directory(serve: Callable[..., Serving]) -> None:
    killed = serve()
    killed.url()
    assert killed.end(signal.SIGKILL) == -signal.SIGKILL
    following = serve()
    assert is_ready(following.url(), 5)
    assert killed.left() == []
    assert following.end(signal.SIGINT) == 0  # as Ctrl-C does
    assert following.left() == []


def test_a_second_signal_does_not_wait_for_the_drain(serve: Callable[..., Serving]) -> None:
    server = serve(SMALL_TREE_HANGS="1")
    server.url()
    server.process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        server.process.wait(1.5)  # a twin of the first one does not count
    assert server.end(signal.SIGINT) == 130
    assert server.left() == []
