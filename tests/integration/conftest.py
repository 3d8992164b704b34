"""Fixtures of the tests that need the whole server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.hostile_scene import Scene, make_scene
from tests.integration.serving import Server, serving


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serve once for the whole run; without limits of rate, and tables that a test has left go to rest soon."""
    with serving(tmp_path_factory.mktemp("server") / "data", "--rate-limit", "0", "--rest-s", "15") as running:
        yield running


@pytest.fixture(scope="session")
def scene(server: Server) -> Scene:
    """Set up a table full of secrets, and another one, for hostile clients. Tests leave the secrets secret."""
    return make_scene(server)
