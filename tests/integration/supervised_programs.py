"""The real supervisors over hosts that only pretend, wired for processes of their own. Epochs are kept in a directory."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

from actors.runtime import Inside, Program, Wiring
from supervision.entities import EntitySettings, EntitySupervisor
from supervision.hosts import HostsSettings, HostsSupervisor
from supervision.root import RootSupervisor
from supervision.spec import ChildSpec
from undying.protocol.data import JsonObject
from undying.protocol.ids import Kind


class PretendedHost:
    """Counts epochs in a file per stream."""

    def __init__(self, settings: JsonObject, inside: Inside) -> None:
        self._directory = Path(str(settings["directory"]))
        self._live: dict[str, int] = {}

    async def start(self) -> None:
        return None

    async def stop(self) -> None:
        return None

    async def is_draining(self) -> bool:
        return False

    async def drain(self) -> None:
        return None

    async def activate(self, stream: str, create: bool) -> list[int]:
        if stream not in self._live:
            file = self._directory / stream.replace(":", "-")
            epoch = 1 + (int(file.read_text()) if file.exists() else 0)
            file.write_text(str(epoch))
            self._live[stream] = epoch
        return [self._live[stream], 0]

    async def status(self) -> list[JsonObject]:
        return [{"id": stream, "epoch": epoch, "seq": 0, "state": "live"} for stream, epoch in self._live.items()]


def _hosts(settings: JsonObject, inside: Inside) -> HostsSupervisor:
    return HostsSupervisor(HostsSettings(spares=1, host=settings), inside, random.Random())


def _sessions(settings: JsonObject, inside: Inside) -> EntitySupervisor:
    return EntitySupervisor(Kind.SESSION, EntitySettings(), inside, random.Random(), time.monotonic)


def _root(settings: JsonObject, inside: Inside) -> RootSupervisor:
    specs = [
        ChildSpec("supervisor:hosts", Program("hosts", settings)),
        ChildSpec("supervisor:sessions", Program("sessions")),
    ]
    return RootSupervisor(specs, inside, random.Random(), time.monotonic, lambda: os.kill(os.getpid(), signal.SIGKILL))


WIRING: Wiring = {"host": PretendedHost, "hosts": _hosts, "sessions": _sessions, "root": _root}
