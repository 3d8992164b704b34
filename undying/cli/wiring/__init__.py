"""The composition root: every program of a server by name, built from the server's settings.

The only package that knows all layers. A process looks its program up here, by the import string that the runtime carries, and
imports then what that program needs and no more: a supervisor knows neither rules nor sockets.
"""

from __future__ import annotations

import importlib
from typing import Any, Final

from actors.runtime import Builder, Inside, Wiring
from undying.protocol.data import JsonObject


def _from(module: str, name: str) -> Builder:
    def build(settings: JsonObject, inside: Inside) -> Any:
        builder: Builder = getattr(importlib.import_module(f"{__name__}.{module}"), name)
        return builder(settings, inside)

    return build


WIRING: Final[Wiring] = {
    "root": _from("supervisors", "build_root"),
    "hosts": _from("supervisors", "build_hosts"),
    "gateways": _from("supervisors", "build_gateways"),
    "sessions": _from("supervisors", "build_sessions"),
    "characters": _from("supervisors", "build_characters"),
    "providers": _from("supervisors", "build_providers"),
    "tracker": _from("tracker", "build_tracker"),
    "host": _from("host", "build_host"),
    "gateway": _from("gateway", "build_gateway"),
}
