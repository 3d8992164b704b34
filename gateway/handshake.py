"""The opening handshake: who gets a WebSocket, speaking what, and how the others are told no.

A pure step over websockets' `ServerProtocol`: a request in, a response out, 101 or an error object with a status.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final, cast

from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol
from websockets.typing import Origin, Subprotocol

from undying.protocol.codec import SUBPROTOCOLS, encode
from undying.protocol.errors import Code, Failure

PATH: Final = "/v1/connect"

# websockets tells of every connection at INFO, which is what our metrics are for.
_wire_log = logging.getLogger("gateway.websocket.wire")
_wire_log.setLevel(logging.WARNING)


def new_protocol(frame_max: int, origins: Sequence[str]) -> ServerProtocol:
    """Make the protocol of one connection: messages of `frame_max` bytes at most, no compression.

    `origins` are those of web pages that may connect; none given: any.
    """
    return ServerProtocol(
        # Only browsers name an origin, and only they can be made to connect against their person's will.
        origins=[*cast(Sequence[Origin], origins), None] if origins else None,
        select_subprotocol=_select_subprotocol,
        max_size=frame_max,
        logger=_wire_log,
    )


def answer(ws: ServerProtocol, request: Request, unwelcome: Failure | None) -> Response:
    """Answer a request: status 101 and the headers for it, or a refusal. `unwelcome` refuses what else would be taken."""
    if request.path.partition("?")[0] != PATH:
        return _refusal(ws.reject(HTTPStatus.NOT_FOUND, ""), Failure(Code.NOT_FOUND, f"WebSockets connect at {PATH}"))
    if unwelcome is not None:
        return _refusal(ws.reject(unwelcome.row.http_status, ""), unwelcome)
    response = ws.accept(request)
    del response.headers["Date"]
    if response.status_code == HTTPStatus.FORBIDDEN:
        return _refusal(response, Failure(Code.FORBIDDEN, "this origin may not connect"))
    if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
        return _refusal(response, Failure(Code.BAD_FRAME, "not a WebSocket handshake as RFC 6455 has it"))
    return response


def _select_subprotocol(_ws: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """Take the first that we speak, in the client's order; none: no subprotocol, JSON."""
    return next((each for each in offered if each in SUBPROTOCOLS), None)


def _refusal(response: Response, failure: Failure) -> Response:
    """Keep status and headers (`Allow`, `Upgrade` …) and put an error object into the body."""
    body = encode(failure.to_wire(), "json")
    headers = Headers(response.headers.raw_items())
    for name, value in (("Content-Type", "application/json"), ("Content-Length", str(len(body)))):
        headers.pop(name, None)
        headers[name] = value
    return Response(response.status_code, response.reason_phrase, headers, body)
