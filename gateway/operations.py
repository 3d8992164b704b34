"""HTTP for whoever runs the server, with the admin's token: what is alive, what ended and why, and orders to supervisors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, cast

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.answering import Answering, Asked, bearer, json_response, url_of
from gateway.auth import AdminAuth
from gateway.bodies import Rollback, read_body
from gateway.ports import Directory, Overview
from undying.protocol.data import Json
from undying.protocol.errors import Code, error
from undying.protocol.ids import is_stream

ENDINGS: Final = 100
ENDINGS_MAX: Final = 1_000
"""Endings that `/v1/history` tells when it is not asked for a number of them, and at most."""


@dataclass(frozen=True, slots=True)
class Operations:
    """The routes and what they need. `public_url`: see `gateway.answering.url_of`."""

    overview: Overview
    directory: Directory
    admin: AdminAuth
    public_url: str | None

    def routes(self, answering: Answering) -> list[Route]:
        """Return the routes."""
        route = answering.route
        return [
            route("/v1/status", {"GET": self._status}),
            route("/v1/history", {"GET": self._endings}),
            route("/v1/actors/{stream}/history", {"GET": self._history}),
            route("/v1/actors/{stream}/readmit", {"POST": self._readmit}),
            route("/v1/actors/{stream}/checkpoints", {"GET": self._checkpoints}),
            route("/v1/actors/{stream}/rollback", {"POST": self._roll_back}),
            route("/v1/nodes/{node}/drain", {"POST": self._drain, "DELETE": self._undrain}),
            route("/v1/restart", {"POST": self._restart}),
        ]

    async def _status(self, request: Asked) -> Response:
        self._check_admin(request)
        return json_response({"url": url_of(request, self.public_url), "actors": cast(Json, await self.overview.status())})

    async def _endings(self, request: Asked) -> Response:
        self._check_admin(request)
        return json_response(await self.overview.endings(_limit(request)))

    async def _history(self, request: Asked) -> Response:
        stream = self._entity(request)
        return json_response({"id": stream, "history": cast(Json, await self.overview.history(stream))})

    async def _readmit(self, request: Asked) -> Response:
        stream = self._entity(request)
        await self.overview.readmit(stream)
        return json_response({"id": stream})

    async def _checkpoints(self, request: Asked) -> Response:
        return json_response(await self.directory.checkpoints(self._entity(request)))

    async def _roll_back(self, request: Asked) -> Response:
        stream = self._entity(request)
        body = await read_body(request, Rollback)
        return json_response(await self.overview.roll_back(stream, body.to))

    async def _drain(self, request: Asked) -> Response:
        return json_response(await self.overview.drain(self._node(request)), 202)

    async def _undrain(self, request: Asked) -> Response:
        node = self._node(request)
        await self.overview.undrain(node)
        return json_response({"node": node})

    async def _restart(self, request: Asked) -> Response:
        self._check_admin(request)
        await self.overview.restart()
        return json_response({}, 202)

    def _check_admin(self, request: Request) -> None:
        self.admin.check(bearer(request))

    def _node(self, request: Request) -> str:
        self._check_admin(request)
        return str(request.path_params["node"])

    def _entity(self, request: Request) -> str:
        """Return the stream that an admin names in the path."""
        self._check_admin(request)
        stream = str(request.path_params["stream"])
        if not is_stream(stream):
            raise error(Code.BAD_ARGS, "not the name of a stream, kind:id", path="stream")
        return stream


def _limit(request: Request) -> int:
    """Return how many rows a request asks for. Raises UndyingError BAD_ARGS."""
    text = request.query_params.get("limit", str(ENDINGS))
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= ENDINGS_MAX):
        raise error(Code.BAD_ARGS, f"not a number from 1 to {ENDINGS_MAX}", path="limit")
    return int(text)
