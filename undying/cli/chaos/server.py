"""The server that `undying chaos` breaks: `undying serve` with another wiring, started as `python -m undying.cli.chaos.server`.

Its one argument is its settings as JSON. Tables never go to rest, so a host is there for each entity and none stands empty; no
rate is limited; and a process may hold so little memory that a fault need not take much of the machine's.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

from undying.cli.serve import serve_with
from undying.cli.settings import ServeSettings

WIRING: Final = "undying.cli.chaos.wiring:WIRING"


MEMORY_MB: Final = 400
"""MiB that a process may hold: a host with nobody in it takes some 120."""


def command(data_dir: Path) -> list[str]:
    """Return what Python is told to run this server on a data directory (`own_server.Command`)."""
    settings = {
        "port": 0,
        "data_dir": str(data_dir),
        "rate_limit": 0,
        "rest_s": 0,
        "memory_mb": MEMORY_MB,
        "log_level": "warning",
    }
    return ["-m", __name__, json.dumps(settings)]


def main() -> None:
    """Serve until a signal."""
    from undying.cli.parts import real_parts  # takes a second (Ray), which who imports `command` need not wait for

    sys.exit(serve_with(ServeSettings(**json.loads(sys.argv[1])), real_parts(WIRING)))


if __name__ == "__main__":
    main()
