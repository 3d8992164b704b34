"""A Ray cluster of several nodes on this machine, for tests: a raylet each, in processes of its own.

Runs as a program (`python -m tests.integration.ray_nodes N`), so that what Ray leaves in a process's memory and
environment stays there. It prints a JSON line with the cluster's address, then obeys lines on stdin: `add` prints the new
node's line, `gcs off` and `gcs on` end and start Ray's control service. It ends when stdin does, with all that it started.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

REPOSITORY: Final = Path(__file__).parents[2]
END_S: Final = 30
QUIET: Final = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",
    "RAY_AUTH_MODE": "disabled",
}
OBJECT_STORE_BYTES: Final = 80_000_000


@dataclass
class Node:
    """One node: its name as the server shows it, and its raylet."""

    name: str
    raylet: int

    def _processes(self) -> list[psutil.Process]:
        with suppress(psutil.NoSuchProcess):
            raylet = psutil.Process(self.raylet)
            return [raylet, *raylet.children(recursive=True)]
        return []

    def kill(self) -> None:
        """Let the machine lose its power."""
        self._signal(signal.SIGKILL)

    def stop(self) -> None:
        """Let the machine stand still."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let the machine go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        for process in self._processes():
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)


@dataclass
class Nodes:
    """A running cluster. The first node is the head: its end is the cluster's."""

    address: str
    process: subprocess.Popen[str]
    nodes: list[Node] = field(default_factory=list)

    def add(self) -> Node:
        """Add a node."""
        self._order("add")
        self.nodes.append(_read_node(self.process))
        return self.nodes[-1]

    def lose_control(self) -> None:
        """End Ray's control service."""
        self._order("gcs off")
        _read(self.process)

    def regain_control(self) -> None:
        """Start it again. It knows only what it kept in a store."""
        self._order("gcs on")
        _read(self.process)

    def _order(self, line: str) -> None:
        assert self.process.stdin is not None
        print(line, file=self.process.stdin, flush=True)


@contextmanager
def ray_nodes(count: int, directory: Path, **environment: str) -> Iterator[Nodes]:
    """Run a cluster of `count` nodes; nothing of it is left after the block."""
    with (directory / "nodes.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.ray_nodes", str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=REPOSITORY,
            env={**os.environ, **QUIET, **environment},
            text=True,
        )
        seen: list[psutil.Process] = []
        try:
            running = Nodes(_read(process)["address"], process)
            running.nodes += [_read_node(process) for _ in range(count)]
            seen = psutil.Process(process.pid).children(recursive=True)
            yield running
            for node in running.nodes:
                node.resume()
        finally:
            with suppress(psutil.NoSuchProcess):
                seen += psutil.Process(process.pid).children(recursive=True)
            try:
                process.communicate(timeout=END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
            for child in seen:
                with suppress(psutil.NoSuchProcess):
                    child.kill()


def _read_node(process: subprocess.Popen[str]) -> Node:
    told = _read(process)
    return Node(told["name"], told["raylet"])


def _read(process: subprocess.Popen[str]) -> Any:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


def main(count: int) -> None:
    """Be the program."""
    from ray.cluster_utils import Cluster

    real, sys.stdout = sys.stdout, sys.stderr  # Ray prints
    options: dict[str, Any] = {"num_cpus": 0, "object_store_memory": OBJECT_STORE_BYTES, "include_dashboard": False}

    def tell(**facts: object) -> None:
        print(json.dumps(facts), file=real, flush=True)

    def tell_node(node: Any) -> None:
        tell(name=node.node_id[:8], raylet=node.all_processes["raylet"][0].process.pid)

    cluster: Any = Cluster(initialize_head=True, connect=False, head_node_args=options)
    tell(address=cluster.address)
    tell_node(cluster.head_node)
    for _ in range(count - 1):
        tell_node(cluster.add_node(**options))
    for line in sys.stdin:
        match line.strip():
            case "add":
                tell_node(cluster.add_node(**options))
            case "gcs off":
                cluster.head_node.kill_gcs_server()
                tell()
            case "gcs on":
                cluster.head_node.start_gcs_server()
                tell()
    cluster.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]))
