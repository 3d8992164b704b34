"""How a process of ours collects garbage: rarely, and not what it was born with.

Python's collector walks containers in search of cycles, young ones after every 700 that were made, all of them when a quarter
is new. For a host that makes thousands of containers for each batch and keeps hundreds of thousands that are no cycles, that
meant pauses of a few hundred ms under load: with the collector off, p99 at 10,000 ops/s was 94 ms in place of 961. What is left
to collect are rare cycles (exceptions with their frames, finished tasks), which can wait.
"""

from __future__ import annotations

import gc
from typing import Final

YOUNG: Final = 50_000
"""Containers more than at the last look after which the young are looked at: several times what a full batch makes."""

GENERATIONS: Final = (20, 50)
"""Looks at the young for one at the middle-aged, and of those for one at all (and then only if a quarter is new)."""


def collect_rarely() -> None:
    """Set the collector of this process up. Called once, when all modules are imported and nothing was made with them yet."""
    gc.collect()
    gc.freeze()  # what is here now stays for good, and need not be walked again
    gc.set_threshold(YOUNG, *GENERATIONS)
