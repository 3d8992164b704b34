"""HTTP beside the sockets: sessions, invitations, snapshots, ops, health and metrics.

Every answer is JSON (metrics apart), every refusal the error object with its row's status (`gateway.answering`). The holder
of a token may have a few requests under way (`gateway.holders`) and ask for a snapshot as often as for `SNAPSHOT_OPS` ops. What
only who runs the server may ask is in `gateway.operations`.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Final, cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from gateway.answering import Answering, Asked, bearer, failure_response, http_exception, json_response, url_of
from gateway.auth import AdminAuth, Grant, Tokens
from gateway.bodies import NewInvite, NewOps, NewSession, read_body
from gateway.handshake import PATH as CONNECT_PATH
from gateway.holders import Holders
from gateway.limits import Limits
from gateway.metrics import CONTENT_TYPE, Metrics
from gateway.operations import Operations
from gateway.ports import Directory, Overview, Tables
from undying.protocol.data import Json
from undying.protocol.errors import Code, Failure, UndyingError, error
from undying.protocol.ids import Role, is_id, new_id

REQUEST_S: Final = 15.0
INVITE_TTL_S: Final = 30 * 24 * 3600
SNAPSHOT_OPS: Final = 30
"""What a snapshot costs of a purse of its own, in ops: it may be megabytes, made in one go."""


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
    overview: Overview
    directory: Directory
    tokens: Tokens
    admin: AdminAuth
    limits: Limits
    metrics: Metrics
    rng: random.Random
    settings: AppSettings = AppSettings()
    holders: Holders = field(default_factory=Holders)

    def app(self) -> Starlette:
        """Build the ASGI application."""
        answering = Answering(self.settings.request_s, self.rng)
        operations = Operations(self.overview, self.directory, self.admin, self.settings.public_url)
        routes = [
            answering.route("/v1/sessions", {"POST": self._new_session, "GET": self._sessions}),
            answering.route("/v1/sessions/{id}/invites", {"POST": self._invite}),
            answering.route("/v1/sessions/{id}/snapshot", {"GET": self._snapshot}),
            answering.route("/v1/sessions/{id}/ops", {"POST": self._ops}),
            *operations.routes(answering),
            answering.route(CONNECT_PATH, {"GET": self._not_a_socket}),
            answering.route("/healthz", {"GET": self._healthy}),
            answering.route("/readyz", {"GET": self._ready}),
            answering.route("/metrics", {"GET": self._metrics}),
        ]
        app = Starlette(routes=routes, exception_handlers={HTTPException: http_exception})
        app.router.redirect_slashes = False  # an unknown path is an error object, not a redirect
        return app

    # Who asks

    def _check_admin(self, request: Request) -> None:
        self.admin.check(bearer(request))

    def _grant(self, request: Asked) -> Grant:
        """Return what the bearer's token says, when it is for the session in the path and not too busy."""
        grant = self.tokens.read(bearer(request))
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
        return json_response({"session": session, "gm_token": token, "url": self._url(request)}, 201)

    async def _sessions(self, request: Asked) -> Response:
        self._check_admin(request)
        return json_response({"sessions": cast(Json, await self.tables.list_sessions())})

    async def _invite(self, request: Asked) -> Response:
        session = await self._inviting(request)
        body = await read_body(request, NewInvite)
        user = body.user if body.user is not None else new_id(self.rng)
        token = self.tokens.join_token(session, user, body.name, body.parsed_role, self.settings.invite_ttl_s)
        return json_response({"token": token, "url": self._url(request), "user": user}, 201)

    async def _inviting(self, request: Asked) -> str:
        """Return the session that the request may invite to: the admin to any, a game master to theirs."""
        session = str(request.path_params["id"])
        if self.admin.is_admin(bearer(request)):
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
        return json_response(await self.tables.snapshot(grant))

    async def _ops(self, request: Asked) -> Response:
        grant = self._grant(request)
        ops = (await read_body(request, NewOps)).frames()
        self._pay(grant.holder, len(ops), "ops")
        return json_response({"acks": cast(Json, await self.tables.submit(grant, ops))})

    async def _not_a_socket(self, _request: Asked) -> Response:
        raise error(Code.BAD_FRAME, "this path takes WebSocket connections only")

    async def _healthy(self, _request: Asked) -> Response:
        return json_response({"ok": True, "connections": self.tables.connections()})

    async def _ready(self, _request: Asked) -> Response:
        try:
            await self.tables.ready()
        except UndyingError as refused:
            return failure_response(refused.failure, 503)
        return json_response({"ready": True})

    async def _metrics(self, _request: Asked) -> Response:
        return Response(self.metrics.text(), headers={"content-type": CONTENT_TYPE, "cache-control": "no-store"})

    def _url(self, request: Request) -> str:
        return url_of(request, self.settings.public_url)
