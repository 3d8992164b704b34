"""The real program `host`, in processes that look for fences rarely, or often: a test can't wait for what takes 10 s."""

from __future__ import annotations

from typing import Final

from actors import lives
from actors.host import Host
from actors.runtime import Inside, Wiring
from undying.cli.wiring.host import build_host
from undying.protocol.data import JsonObject

OFTEN_S: Final = 0.2


async def _host_that_never_looks(settings: JsonObject, inside: Inside) -> Host:
    return await _looking_every(3_600.0, settings, inside)


async def _host_that_looks_often(settings: JsonObject, inside: Inside) -> Host:
    return await _looking_every(OFTEN_S, settings, inside)


async def _looking_every(seconds: float, settings: JsonObject, inside: Inside) -> Host:
    setattr(lives, "VERIFY_S", seconds)  # noqa: B010 - it is Final for everybody else, and this process is the test's own
    return await build_host(settings, inside)


WIRING: Wiring = {"host that never looks": _host_that_never_looks, "host that looks often": _host_that_looks_often}
