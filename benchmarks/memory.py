"""Who holds the memory: proportional set size (PSS) per role, over every process of a server.

PSS counts a page that several processes share to each of them by its share, so the sum is what the server takes of the
machine. It is read from `/proc/PID/smaps_rollup`, so on Linux only. Files that are read from the disk's cache (libraries)
count too, once.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

ROLES: Final = ("gateway", "host", "supervisors", "spares", "serve", "ray", "store")
"""In the order in which they are shown; `spares` are all processes of ours in which nothing lives."""

OURS: Final = "Undying"
"""What is in the titles of the processes that run our programs."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the server held at one moment: bytes and number of processes by role."""

    bytes: Mapping[str, int]
    processes: Mapping[str, int]

    @property
    def total(self) -> int:
        """Return the bytes of all roles."""
        return sum(self.bytes.values())


def read(server_pid: int, roles: Mapping[int, str]) -> Reading:
    """Read what a server's processes hold. `roles` are those that its status tells of."""
    held, count = dict.fromkeys(ROLES, 0), dict.fromkeys(ROLES, 0)
    server = psutil.Process(server_pid)
    for process in (server, *server.children(recursive=True)):
        with suppress(psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            role = "serve" if process == server else roles.get(process.pid) or _role(process)
            held[role] += pss(Path(f"/proc/{process.pid}/smaps_rollup").read_text())
            count[role] += 1
    return Reading(held, count)


def pss(rollup: str) -> int:
    """Return the bytes that a `smaps_rollup` says are a process's share; 0 for one that is ending. Raises ValueError."""
    for line in rollup.splitlines():
        name, _, size = line.partition(":")
        if name == "Pss":
            return int(size.removesuffix("kB")) * 1024
    return 0


def _role(process: Any) -> str:
    name = process.name()
    if "valkey" in name or "redis" in name:
        return "store"
    return "spares" if OURS in " ".join(process.cmdline()) else "ray"
