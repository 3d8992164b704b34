"""HTTP beside the sockets: sessions, invitations, snapshots, ops, health and metrics.

Every answer is JSON (metrics apart), every refusal the error object with its row's status. What is no failure of the
taxonomy is a defect: it is logged whole under a reference id, and the client gets `INTERNAL` with that id and nothing
else. Each request ends within `REQUEST_S` seconds, and its answer is then to be read in time (`gateway.edge`). The holder of
a token may have a few requests under way (`gateway.holders`) and ask for a snapshot as often as for `SNAPSHOT_OPS` ops.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final, TypeAlias, cast

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from gateway.auth import AdminAuth, Grant, Tokens
from gateway.bodies import NewInvite, NewOps, NewSession, Rollback, read_body
from gateway.handshake import PATH as CONNECT_PATH
from gateway.holders import Holders, until_read
from gateway.limits import Limits
from gateway.metrics import CONTENT_TYPE, Metrics
from gateway.ports import Tables
from undying.protocol.codec import encode
from undying.protocol.data import Json
from undying.protocol.errors import Code, Failure, UndyingError, error
from undying.protocol.ids import Role, is_id, is_stream, new_id

REQUEST_S: Final = 15.0
ENDINGS: Final = 100
ENDINGS_MAX: Final = 1_000
"""Endings that `/v1/history` tells when it is not asked for a number of them, and at most."""
INVITE_TTL_S: Final = 30 * 24 * 3600
SNAPSHOT_OPS: Final = 30
"""What a snapshot costs of a purse of its own, in ops: it may be megabytes, made in one go."""
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(:[0-9]{1,5})?")

_log = structlog.get_logger(__name__)


class Asked(Request):
    """A request, and what it holds until its answer has left."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        super().__init__(scope, receive, send)
        self.held = ExitStack()


Handler: TypeAlias = Callable[[Asked], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class AppSettings:
    """`public_url` is how clients reach the server when the request's `Host` does not tell (a proxy); times in seconds."""

    public_url: str | None = None
    invite_ttl_s: int = INVITE_TTL_S
    request_s: float = REQUEST_S


@dataclass(frozen=True, slots=True)
class Api:
    """The routes and what they need. `rng` draws user ids and reference ids."""

    tables: Tables
    tokens: Tokens
    admin: AdminAuth
    limits: Limits
    metrics: Metrics
    rng: random.Random
    settings: AppSettings = AppSettings()
    holders: Holders = field(default_factory=Holders)

    def app(self) -> Starlette:
        """Build the ASGI application."""
        routes = [
            self._route("/v1/sessions", {"POST": self._new_session, "GET": self._sessions}),
            self._route("/v1/sessions/{id}/invites", {"POST": self._invite}),
            self._route("/v1/sessions/{id}/snapshot", {"GET": self._snapshot}),
            self._route("/v1/sessions/{id}/ops", {"POST": self._ops}),
            self._route("/v1/status", {"GET": self._status}),
            self._route("/v1/history", {"GET": self._endings}),
            self._route("/v1/actors/{stream}/history", {"GET": self._history}),
            self._route("/v1/actors/{stream}/readmit", {"POST": self._readmit}),
            self._route("/v1/actors/{stream}/checkpoints", {"GET": self._checkpoints}),
            self._route("/v1/actors/{stream}/rollback", {"POST": self._roll_back}),
            self._route("/v1/nodes/{node}/drain", {"POST": self._drain, "DELETE": self._undrain}),
            self._route("/v1/restart", {"POST": self._restart}),
            self._route(CONNECT_PATH, {"GET": self._not_a_socket}),
            self._route("/healthz", {"GET": self._healthy}),
            self._route("/readyz", {"GET": self._ready}),
            self._route("/metrics", {"GET": self._metrics}),
        ]
        app = Starlette(routes=routes, exception_handlers={HTTPException: _http_exception})
        app.router.redirect_slashes = False  # an unknown path is an error object, not a redirect
        return app

    def _route(self, path: str, handlers: dict[str, Handler]) -> Route:
        return Route(path, _Endpoint(handlers, self._answer), methods=list(handlers))

    async def _answer(self, handler: Handler, request: Asked) -> Response:
        try:
            async with asyncio.timeout(self.settings.request_s):
                return await handler(request)
        except UndyingError as refused:
            return failure_response(refused.failure)
        except TimeoutError:
            return failure_response(Failure(Code.UNAVAILABLE, "no answer in time; it is not known whether it was done"))
        except asyncio.CancelledError:
            # Only uvicorn cancels, and only what outlived the grace that a stop gives; the task ends with this answer.
            return failure_response(Failure(Code.DRAINING, "the server goes down; it is not known whether it was done"))
        except ClientDisconnect:
            return failure_response(Failure(Code.BAD_FRAME, "the request ended early"))  # to nobody
        except Exception:  # noqa: BLE001 - a request's edge: recorded under a reference, and the client told no more
            reference = new_id(self.rng)
            _log.exception("request failed", reference=reference, method=request.method, path=request.url.path)
            return failure_response(Failure(Code.INTERNAL, "internal error; it was recorded", {"reference": reference}))

    # Who asks

    def _check_admin(self, request: Request) -> None:
        self.admin.check(_bearer(request))

    def _grant(self, request: Asked) -> Grant:
        """Return what the bearer's token says, when it is for the session in the path and not too busy."""
        grant = self.tokens.read(_bearer(request))
        if request.path_params["id"] != grant.session:
            raise error(Code.FORBIDDEN, "this token is for another session")
        request.held.enter_context(self.holders.request(grant.holder))
        return grant

    def _pay(self, purse: str, ops: int, what: str) -> None:
        after_ms = self.limits.take(purse, ops)
        if after_ms:
            raise UndyingError(Failure(Code.RATE_LIMITED, f"too many {what}; nothing was done", after_ms=after_ms))

    # What they get

    async def _new_session(self, request: Asked) -> Response:
        self._check_admin(request)
        body = await read_body(request, NewSession)
        session = await self.tables.create_session(body.name)
        token = self.tokens.join_token(session, new_id(self.rng), "Game master", Role.GM, self.settings.invite_ttl_s)
        return _json({"session": session, "gm_token": token, "url": self._url(request)}, 201)

    async def _sessions(self, request: Asked) -> Response:
        self._check_admin(request)
        return _json({"sessions": cast(Json, await self.tables.list_sessions())})

    async def _invite(self, request: Asked) -> Response:
        session = await self._inviting(request)
        body = await read_body(request, NewInvite)
        user = body.user if body.user is not None else new_id(self.rng)
        token = self.tokens.join_token(session, user, body.name, body.parsed_role, self.settings.invite_ttl_s)
        return _json({"token": token, "url": self._url(request), "user": user}, 201)

    async def _inviting(self, request: Asked) -> str:
        """Return the session that the request may invite to: the admin to any, a game master to theirs."""
        session = str(request.path_params["id"])
        if self.admin.is_admin(_bearer(request)):
            if not is_id(session) or session not in await self.tables.sessions():
                raise error(Code.NOT_FOUND, "no such session")
            return session
        grant = self._grant(request)
        # The token may be old; what its holder may do is what the session says now.
        if await self.tables.role_of(grant) is not Role.GM:
            raise error(Code.FORBIDDEN, "only a game master invites")
        return session

    async def _snapshot(self, request: Asked) -> Response:
        grant = self._grant(request)
        self._pay(f"snapshot:{grant.holder}", SNAPSHOT_OPS, "snapshots")
        return _json(await self.tables.snapshot(grant))

    async def _ops(self, request: Asked) -> Response:
        grant = self._grant(request)
        ops = (await read_body(request, NewOps)).frames()
        self._pay(grant.holder, len(ops), "ops")
        return _json({"acks": cast(Json, await self.tables.submit(grant, ops))})

    async def _status(self, request: Asked) -> Response:
        self._check_admin(request)
        return _json({"url": self._url(request), "actors": cast(Json, await self.tables.status())})

    async def _history(self, request: Asked) -> Response:
        stream = self._entity(request)
        return _json({"id": stream, "history": cast(Json, await self.tables.history(stream))})

    async def _endings(self, request: Asked) -> Response:
        self._check_admin(request)
        return _json(await self.tables.endings(_limit(request)))

    async def _readmit(self, request: Asked) -> Response:
        stream = self._entity(request)
        await self.tables.readmit(stream)
        return _json({"id": stream})

    async def _checkpoints(self, request: Asked) -> Response:
        return _json(await self.tables.checkpoints(self._entity(request)))

    async def _roll_back(self, request: Asked) -> Response:
        stream = self._entity(request)
        body = await read_body(request, Rollback)
        return _json(await self.tables.roll_back(stream, body.to))

    async def _drain(self, request: Asked) -> Response:
        self._check_admin(request)
        return _json(await self.tables.drain(str(request.path_params["node"])), 202)

    async def _undrain(self, request: Asked) -> Response:
        self._check_admin(request)
        node = str(request.path_params["node"])
        await self.tables.undrain(node)
        return _json({"node": node})

    async def _restart(self, request: Asked) -> Response:
        self._check_admin(request)
        await self.tables.restart()
        return _json({}, 202)

    def _entity(self, request: Asked) -> str:
        """Return the stream that an admin names in the path."""
        self._check_admin(request)
        stream = str(request.path_params["stream"])
        if not is_stream(stream):
            raise error(Code.BAD_ARGS, "not the name of a stream, kind:id", path="stream")
        return stream

    async def _not_a_socket(self, _request: Asked) -> Response:
        raise error(Code.BAD_FRAME, "this path takes WebSocket connections only")

    async def _healthy(self, _request: Asked) -> Response:
        return _json({"ok": True, "connections": self.tables.connections()})

    async def _ready(self, _request: Asked) -> Response:
        try:
            await self.tables.ready()
        except UndyingError as refused:
            return failure_response(refused.failure, 503)
        return _json({"ready": True})

    async def _metrics(self, _request: Asked) -> Response:
        return Response(self.metrics.text(), headers={"content-type": CONTENT_TYPE, "cache-control": "no-store"})

    def _url(self, request: Request) -> str:
        """Return the server's url as the client knows it."""
        if self.settings.public_url is not None:
            return self.settings.public_url.rstrip("/")
        host = request.headers.get("host", "")
        if _HOST.fullmatch(host) is None:
            raise error(Code.BAD_FRAME, "the Host header is no host")
        return f"{request.url.scheme}://{host}"


class _Endpoint:
    """One path: an ASGI application rather than a function, because its end is the end of writing and not of answering."""

    def __init__(self, handlers: dict[str, Handler], answer: Callable[[Handler, Asked], Awaitable[Response]]) -> None:
        self._handlers = handlers
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Asked(scope, receive, send)
        with request.held:
            response = await self._answer(self._handlers["GET" if request.method == "HEAD" else request.method], request)
            await response(scope, receive, until_read(send))


def failure_response(failure: Failure, status: int | None = None) -> Response:
    """Turn a failure into an answer with its row's status, or with `status`."""
    headers: dict[str, str] = {}
    if failure.row.http_status == 401:
        headers["www-authenticate"] = "Bearer"
    if failure.after_ms is not None:
        headers["retry-after"] = str(-(-failure.after_ms // 1000))
    return _json(failure.to_wire(), failure.row.http_status if status is None else status, headers)


async def _http_exception(_request: Request, exc: Exception) -> Response:
    """Say what the router says (404, 405) as an error object."""
    refused = cast(HTTPException, exc)
    if refused.status_code == 404:
        return failure_response(Failure(Code.NOT_FOUND, "no such path"))
    failure = Failure(Code.BAD_FRAME, refused.detail)
    answer = failure_response(failure, refused.status_code)
    answer.headers.update(refused.headers or {})
    return answer


def _limit(request: Request) -> int:
    """Return how many rows a request asks for. Raises UndyingError BAD_ARGS."""
    text = request.query_params.get("limit", str(ENDINGS))
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= ENDINGS_MAX):
        raise error(Code.BAD_ARGS, f"not a number from 1 to {ENDINGS_MAX}", path="limit")
    return int(text)


def _bearer(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise error(Code.NOT_AUTHENTICATED, "this needs `Authorization: Bearer <token>`")
    return token.strip()


def _json(content: Json, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    # Answers hold tokens and a viewer's own view: no cache may keep them.
    fixed = {"content-type": "application/json", "cache-control": "no-store"}
    return Response(encode(cast(dict[str, object], content), "json"), status, {**fixed, **(headers or {})})
