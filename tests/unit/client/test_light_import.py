"""A client's dependencies are light."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ["ray", "redis", "starlette", "uvicorn", "structlog", "typer", "jwt"]


@pytest.mark.parametrize("use", ["import undying", "import undying; undying.connect"])
def test_the_sdk_imports_nothing_of_the_server(use: str) -> None:
    code = f"{use}; import sys; print([name for name in {HEAVY} if name in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert out.stdout.strip() == "[]"


def test_server_processes_that_use_the_protocol_do_not_import_the_sdk() -> None:
    code = "import undying.protocol.codec, sys; print([name for name in sys.modules if name.startswith('undying.client')])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert out.stdout.strip() == "[]"
