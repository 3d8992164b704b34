"""What HTTP requests carry, read at the border: bounded, JSON only, checked by a model.

Everything that is wrong is an UndyingError: FRAME_TOO_LARGE, BAD_FRAME when it is not the JSON that we take, BAD_ARGS
with the field's path when it is, but not of the right shape. Keys that we don't know are ignored.
"""

from __future__ import annotations

import json
from typing import Annotated, Final, TypeVar, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from starlette.requests import Request

from gateway.auth import NAME_CHARS_MAX
from undying.protocol.codec import check
from undying.protocol.data import JsonObject
from undying.protocol.errors import Code, UndyingError, error
from undying.protocol.ids import ID_PATTERN, STREAM_PATTERN, Role, parse_role

BODY_BYTES_MAX: Final = 64 * 1024
OPS_MAX: Final = 100
"""Ops in one request."""

B = TypeVar("B", bound=BaseModel)


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("a name has no control characters")
    return text


Name = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=NAME_CHARS_MAX), AfterValidator(_printable)
]
Place = Annotated[list[Annotated[int, Field(ge=0, lt=2**48)]], Field(min_length=2, max_length=2)]
"""A position, `[epoch, seq]`."""
EntityId = Annotated[str, StringConstraints(pattern=ID_PATTERN)]


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class NewSession(_Body):
    """`POST /v1/sessions`."""

    name: Name


class NewInvite(_Body):
    """`POST /v1/sessions/{id}/invites`. Without `user` a new one is made."""

    role: str
    name: Name
    user: EntityId | None = None

    @property
    def parsed_role(self) -> Role:
        """Return the role. Raises UndyingError BAD_ARGS when it is none."""
        try:
            return parse_role(self.role)
        except ValueError as wrong:
            raise error(Code.BAD_ARGS, str(wrong), path="role") from None


class Rollback(_Body):
    """`POST /v1/actors/{stream}/rollback`."""

    to: Place


class OpBody(_Body):
    """One op, as an `op` frame has it."""

    id: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    s: Annotated[str, StringConstraints(pattern=STREAM_PATTERN)]
    k: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    d: dict[str, object] = Field(default_factory=dict)
    at: Annotated[int, Field(ge=0, lt=2**53)] | None = None
    base: Place | None = None
    offline: bool | None = None


class NewOps(_Body):
    """`POST /v1/sessions/{id}/ops`."""

    ops: Annotated[list[OpBody], Field(min_length=1, max_length=OPS_MAX)]

    def frames(self) -> list[JsonObject]:
        """Return the ops as `op` frames, without what was not given."""
        return [cast(JsonObject, {"t": "op", **op.model_dump(exclude_none=True)}) for op in self.ops]


async def read_body(request: Request, model: type[B]) -> B:
    """Read and check a request's body.

    Raises UndyingError FRAME_TOO_LARGE, BAD_FRAME or BAD_ARGS.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise error(Code.BAD_FRAME, "the body is application/json")
    document = _document(await _bounded(request))
    try:
        return model.model_validate(document)
    except ValidationError as wrong:
        raise _bad_args(wrong) from None


async def _bounded(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise error(Code.FRAME_TOO_LARGE, "the body is too large", bytes_max=BODY_BYTES_MAX)
    return bytes(body)


def _document(body: bytes) -> object:
    try:
        document = json.loads(body.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):  # RecursionError: nested deeper than Python's stack
        raise error(Code.BAD_FRAME, "the body is not JSON in UTF-8") from None
    check(document)
    return document


def _refuse_constant(word: str) -> object:
    raise ValueError(f"{word} is not JSON")


def _bad_args(wrong: ValidationError) -> UndyingError:
    first = wrong.errors(include_url=False, include_input=False, include_context=False)[0]
    # A path of keys and indices of our own models: it can't hold what the client sent.
    path = ".".join(str(part) for part in first["loc"])
    return error(Code.BAD_ARGS, f"{path or 'body'}: {first['msg']}", path=path)
