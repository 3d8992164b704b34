"""Who used the processor: seconds per role, over every process of a server and the load generator itself.

Roles are told by the pids of `GET /v1/status` (gateway, host, supervisors, spares), the rest by what their command lines
say: the store, Ray's own processes, and `serve`, which starts them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import psutil

ROLES: Final = ("gateway", "host", "store", "supervisors", "spares", "ray", "serve", "load")
"""In the order in which they are shown; `load` is the load generator."""

_KINDS: Final = {
    "gateway": "gateway",
    "session": "host",
    "character": "host",
    "provider": "host",
    "supervisor": "supervisors",
    "root": "supervisors",
    "tracker": "supervisors",
    "spare": "spares",
}


@dataclass(frozen=True, slots=True)
class Reading:
    """Processor seconds at one moment: by process, and of the whole machine; `used_s` is what all its programs used."""

    processes: Mapping[tuple[int, float], tuple[str, float]]
    used_s: float

    def since(self, earlier: Reading) -> dict[str, float]:
        """Return the seconds used between two readings by role, and by `others` on the machine."""
        spent = dict.fromkeys(ROLES, 0.0)
        for key, (role, seconds) in self.processes.items():
            before = earlier.processes.get(key)
            spent[role] += seconds - (before[1] if before else 0.0)
        spent["others"] = max(0.0, self.used_s - earlier.used_s - sum(spent.values()))
        return spent


def pids_by_role(actors: list[dict[str, Any]]) -> dict[int, str]:
    """Return the roles of the processes that the server's status names."""
    return {row["pid"]: _KINDS[row["kind"]] for row in actors if row["pid"] is not None and row["kind"] in _KINDS}


def read(server_pid: int, roles: Mapping[int, str]) -> Reading:
    """Read the clocks of the server's processes, of this one and of the machine."""
    found: dict[tuple[int, float], tuple[str, float]] = {}
    server, own = psutil.Process(server_pid), psutil.Process()
    for process in (server, own, *server.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):  # it ended meanwhile; what it used is lost to us
            role = "load" if process == own else "serve" if process == server else _role(process, roles)
            times = process.cpu_times()
            found[process.pid, process.create_time()] = (role, times.user + times.system)
    machine = psutil.cpu_times()
    idle = machine.idle + getattr(machine, "iowait", 0.0)
    # Guest time is in user time already.
    counted = sum(machine) - getattr(machine, "guest", 0.0) - getattr(machine, "guest_nice", 0.0)
    return Reading(found, counted - idle)


def _role(process: Any, roles: Mapping[int, str]) -> str:
    return roles.get(process.pid) or ("store" if "valkey" in process.name() or "redis" in process.name() else "ray")
