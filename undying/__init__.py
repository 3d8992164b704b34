"""undying: what clients and servers of undying tables share, and what people type.

async with undying.connect(url, token) as table:
    await table.say("Hello.")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from undying.client.connecting import connect
    from undying.client.events import TableEvent
    from undying.client.failures import Closed, Disconnected, OpRefused, OutcomeUnknown
    from undying.client.table import Table

__all__ = ["Closed", "Disconnected", "OpRefused", "OutcomeUnknown", "Table", "TableEvent", "connect"]

_HOME = {
    "connect": "undying.client.connecting",
    "Table": "undying.client.table",
    "TableEvent": "undying.client.events",
    "OpRefused": "undying.client.failures",
    "OutcomeUnknown": "undying.client.failures",
    "Disconnected": "undying.client.failures",
    "Closed": "undying.client.failures",
}


def __getattr__(name: str) -> Any:
    """Import the SDK when it is first asked for: server processes use only `undying.protocol`, and start faster without."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)
