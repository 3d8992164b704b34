"""Logs: data on stderr, one line each; key=value for people at a terminal, JSON for everything else.

structlog's and the standard library's loggers leave by the same handler. Values under names that hold secrets are replaced
before anything is written, whoever logged them.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Final, TextIO

import structlog

from undying.cli.settings import LogLevel

SECRET_NAMES: Final = frozenset(
    {"token", "admin_token", "gm_token", "resume_token", "join_token", "authorization", "redis_url", "store_url", "password"}
)
HIDDEN: Final = "[hidden]"

NOISY: Final = ("uvicorn", "asyncio", "ray", "websockets")
"""Libraries whose talk below a warning says nothing about tables."""


def configure(level: LogLevel, stream: TextIO | None = None) -> None:
    """Send all logs of `level` and above to `stream` (default: stderr). May be called again; the last call counts."""
    out = sys.stderr if stream is None else stream
    renderer: structlog.typing.Processor
    renderer = structlog.dev.ConsoleRenderer(colors=True) if out.isatty() else structlog.processors.JSONRenderer()
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        hide_secrets,
    ]
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in NOISY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def hide_secrets(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace the values of names that hold secrets, one level into maps as well."""
    for name, value in event.items():
        if name.lower() in SECRET_NAMES:
            event[name] = HIDDEN
        elif isinstance(value, dict):
            event[name] = {key: HIDDEN if str(key).lower() in SECRET_NAMES else inner for key, inner in value.items()}
    return event
