"""Tokens: who somebody is, at which table, signed by the server.

A token is a JWT (RFC 7519) under HS256 and nothing else, with a fixed issuer and audience. It proves identity and a
first role; the role that counts is the session's own. Reading one has two ways to fail: `NOT_AUTHENTICATED` (none, not
ours, misshapen: which of them is not told) and `TOKEN_EXPIRED`.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias, cast

import jwt

from undying.protocol.errors import Code, UndyingError, error
from undying.protocol.ids import Role, is_id, parse_role

ISSUER: Final = "undying"
AUDIENCE: Final = "undying.v1"
TOKEN_CHARS_MAX: Final = 4096
NAME_CHARS_MAX: Final = 64
SECRET_BYTES_MIN: Final = 32
"""RFC 7518 §3.2: a key as long as the hash."""

_ALGORITHM: Final = "HS256"
_REQUIRED: Final = ["iss", "aud", "sub", "iat", "exp", "jti", "session", "name", "role", "purpose", "client", "issued_ms"]

Purpose: TypeAlias = Literal["join", "resume"]


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token says. `client` names the client that a resume token was given to.

    `issued`: when the invitation was made that the token goes back to, in ms since 1970: finer than the token's own time
    `iat`, for somebody may be removed and invited again within a second. A resume token is made anew at each welcome; by
    its own time it would outlive the removal of its holder.
    """

    session: str
    user: str
    name: str
    role: Role
    issued: int
    purpose: Purpose
    client: str

    @property
    def holder(self) -> str:
        """Name who holds the token, for limits. Game masters mint users of their own table only, so a user alone is nobody."""
        return f"{self.session}:{self.user}"


class Tokens:
    """Signs and reads tokens. `clock` gives seconds since 1970, `draw` a new token id.

    Raises ValueError for a secret of less than 32 bytes.
    """

    def __init__(
        self, secret: bytes, clock: Callable[[], float], draw: Callable[[], str] = lambda: secrets.token_urlsafe(12)
    ) -> None:
        if len(secret) < SECRET_BYTES_MIN:
            raise ValueError(f"a token secret has at least {SECRET_BYTES_MIN} bytes")
        self._secret = secret
        self._clock = clock
        self._draw = draw

    def join_token(self, session: str, user: str, name: str, role: Role, ttl_s: int) -> str:
        """Make the token that an invited member joins with, good for `ttl_s` seconds."""
        return self._sign(Grant(session, user, name, role, int(self._clock() * 1000), "join", ""), ttl_s)

    def resume_token(self, grant: Grant, ttl_s: int) -> str:
        """Make a new token by which the holder of `grant` resumes, good for `ttl_s` seconds."""
        return self._sign(replace(grant, purpose="resume"), ttl_s)

    def read(self, token: str) -> Grant:
        """Check a token and return what it says.

        Raises UndyingError NOT_AUTHENTICATED or TOKEN_EXPIRED.
        """
        if not token or len(token) > TOKEN_CHARS_MAX:
            raise _not_authenticated()
        try:
            claims = jwt.decode(
                token,
                self._secret,
                algorithms=[_ALGORITHM],
                audience=AUDIENCE,
                issuer=ISSUER,
                # Times are checked below, by our own clock.
                options={"require": _REQUIRED, "verify_exp": False, "verify_iat": False, "verify_nbf": False},
            )
            # A header may be nested deep enough to exhaust the JSON parser before the signature is looked at.
        except (jwt.PyJWTError, RecursionError, ValueError):
            raise _not_authenticated() from None
        grant = _grant(claims)
        expires = claims["exp"]
        if type(expires) is not int:
            raise _not_authenticated()
        if self._clock() >= expires:
            raise error(Code.TOKEN_EXPIRED, "the token has expired; ask for a new invitation")
        return grant

    def _sign(self, grant: Grant, ttl_s: int) -> str:
        now = int(self._clock())
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": grant.user,
            "iat": now,
            "exp": now + ttl_s,
            "jti": self._draw(),
            "session": grant.session,
            "name": grant.name,
            "role": grant.role.value,
            "purpose": grant.purpose,
            "client": grant.client,
            "issued_ms": grant.issued,
        }
        return jwt.encode(claims, self._secret, algorithm=_ALGORITHM)


def _grant(claims: dict[str, object]) -> Grant:
    session, user, name, client = claims["session"], claims["sub"], claims["name"], claims["client"]
    issued, purpose = claims["issued_ms"], claims["purpose"]
    if not (is_id(session) and is_id(user) and isinstance(name, str) and 1 <= len(name) <= NAME_CHARS_MAX):
        raise _not_authenticated()
    if not (isinstance(client, str) and len(client) <= 64 and type(issued) is int and purpose in ("join", "resume")):
        raise _not_authenticated()
    try:
        role = parse_role(str(claims["role"]))
    except ValueError:
        raise _not_authenticated() from None
    return Grant(cast(str, session), cast(str, user), name, role, issued, purpose, client)


def _not_authenticated() -> UndyingError:
    return error(Code.NOT_AUTHENTICATED, "no token, or none that this server signed")


class AdminAuth:
    """Knows the admin token. Raises ValueError for an empty one, which everybody would know."""

    def __init__(self, token: str) -> None:
        if not token:
            raise ValueError("an admin token is not empty")
        self._token = token.encode()

    def is_admin(self, token: str) -> bool:
        """Tell whether `token` is the admin token. Takes constant time."""
        return hmac.compare_digest(token.encode(errors="replace"), self._token)

    def check(self, token: str) -> None:
        """Return when `token` is the admin token; raise UndyingError NOT_AUTHENTICATED otherwise. Takes constant time."""
        if not self.is_admin(token):
            raise error(Code.NOT_AUTHENTICATED, "this needs the admin token")
