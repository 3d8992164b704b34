"""How HTTP requests are answered, whatever they ask: within a time, as JSON, and refusals as error objects.

What is no failure of the taxonomy is a defect: it is logged whole under a reference id, and the client gets `INTERNAL` with
that id and nothing else. Each request ends within `request_s` seconds, and its answer is then to be read in time
(`gateway.edge`).
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final, TypeAlias, cast

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from gateway.holders import until_read
from undying.protocol.codec import encode
from undying.protocol.data import Json
from undying.protocol.errors import Code, Failure, UndyingError, error
from undying.protocol.ids import new_id

_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(:[0-9]{1,5})?")

_log = structlog.get_logger(__name__)


class Asked(Request):
    """A request, and what it holds until its answer has left."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        super().__init__(scope, receive, send)
        self.held = ExitStack()


Handler: TypeAlias = Callable[[Asked], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Answering:
    """Makes routes of handlers. `rng` draws the references."""

    request_s: float
    rng: random.Random

    def route(self, path: str, handlers: dict[str, Handler]) -> Route:
        """Make a route: a handler for each method."""
        return Route(path, _Endpoint(handlers, self._answer), methods=list(handlers))

    async def _answer(self, handler: Handler, request: Asked) -> Response:
        try:
            async with asyncio.timeout(self.request_s):
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


def json_response(content: Json, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Answer with data."""
    # Answers hold tokens and a viewer's own view: no cache may keep them.
    fixed = {"content-type": "application/json", "cache-control": "no-store"}
    return Response(encode(cast(dict[str, object], content), "json"), status, {**fixed, **(headers or {})})


def failure_response(failure: Failure, status: int | None = None) -> Response:
    """Turn a failure into an answer with its row's status, or with `status`."""
    headers: dict[str, str] = {}
    if failure.row.http_status == 401:
        headers["www-authenticate"] = "Bearer"
    if failure.after_ms is not None:
        headers["retry-after"] = str(-(-failure.after_ms // 1000))
    return json_response(failure.to_wire(), failure.row.http_status if status is None else status, headers)


async def http_exception(_request: Request, exc: Exception) -> Response:
    """Say what the router says (404, 405) as an error object."""
    refused = cast(HTTPException, exc)
    if refused.status_code == 404:
        return failure_response(Failure(Code.NOT_FOUND, "no such path"))
    failure = Failure(Code.BAD_FRAME, refused.detail)
    answer = failure_response(failure, refused.status_code)
    answer.headers.update(refused.headers or {})
    return answer


def bearer(request: Request) -> str:
    """Return the token that a request carries. Raises UndyingError NOT_AUTHENTICATED."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise error(Code.NOT_AUTHENTICATED, "this needs `Authorization: Bearer <token>`")
    return token.strip()


def url_of(request: Request, public_url: str | None) -> str:
    """Return the server's url as the client knows it. Raises UndyingError BAD_FRAME when the request does not tell."""
    if public_url is not None:
        return public_url.rstrip("/")
    host = request.headers.get("host", "")
    if _HOST.fullmatch(host) is None:
        raise error(Code.BAD_FRAME, "the Host header is no host")
    return f"{request.url.scheme}://{host}"
