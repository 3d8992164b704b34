"""Tasks that a process can't go on without.

A background task that ends by a defect would leave a process that lives and does nothing. Such a task is reported to the
loop's exception handler as `fatal`; whoever runs the process ends it then, and a supervisor starts the next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import Any, Final

FATAL: Final = "fatal"
"""Key in the context that the loop's exception handler is given."""


def vital(work: Coroutine[Any, Any, None], what: str) -> asyncio.Task[None]:
    """Start a task whose failure is the process's failure. It may be cancelled, and it may return."""
    task = asyncio.get_running_loop().create_task(work, name=what)
    task.add_done_callback(partial(_report, what))
    return task


def _report(what: str, task: asyncio.Task[None]) -> None:
    if task.cancelled():
        return
    problem = task.exception()
    if problem is not None:
        message = f"{what} ended by a defect"
        task.get_loop().call_exception_handler({"message": message, "exception": problem, "task": task, FATAL: True})
