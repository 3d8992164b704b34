"""The management API from a client's side: one request, one answer, or the error that the server gave.

Where the server is and which token counts: `--url` and `UNDYING_ADMIN_TOKEN` win, the data directory has the rest.

Bounds: each wait for the server takes at most `TIMEOUT_S`, or what is asked for; an answer holds at most `BODY_BYTES_MAX`.
Redirects are not followed (they would carry the token elsewhere), and no proxy is asked for this machine's own addresses.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, Self, cast
from urllib.parse import urlsplit

from undying.cli import datadir
from undying.protocol.data import Json, JsonObject
from undying.protocol.errors import Code, Failure, UndyingError, error
from undying.protocol.ids import Role

TIMEOUT_S: Final = 30.0
BODY_BYTES_MAX: Final = 16 * 1024 * 1024


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Turns every redirect into an HTTPError."""

    def redirect_request(self, *_: object) -> None:
        """Follow nothing."""
        return


@dataclass(frozen=True)
class Management:
    """A server's management API. `url` is the server's base url; each wait for it takes at most `timeout_s`."""

    url: str
    token: str = field(repr=False)
    timeout_s: float = TIMEOUT_S

    @classmethod
    def find(cls, url: str | None, data_dir: Path, token: str | None) -> Self:
        """Take what is given, and the rest from the data directory.

        Raises UndyingError NOT_FOUND when no server is known, NOT_AUTHENTICATED when no token is.
        """
        where = url or datadir.read_fact(data_dir / datadir.URL)
        if where is None:
            raise error(
                Code.NOT_FOUND,
                f"no server is running on {data_dir}: start one with `undying serve`, or name one with --url",
                data_dir=str(data_dir),
            )
        if urlsplit(where).scheme not in ("http", "https") or not urlsplit(where).hostname:
            raise error(Code.BAD_ARGS, f"{where!r} is not a server's url: http(s)://host:port", path="url")
        key = token or datadir.read_fact(data_dir / datadir.ADMIN_TOKEN)
        if key is None:
            raise error(
                Code.NOT_AUTHENTICATED,
                f"there is no admin token in {data_dir}: set UNDYING_ADMIN_TOKEN, or name the directory with --data-dir",
                data_dir=str(data_dir),
            )
        return cls(where.rstrip("/"), key)

    def create_session(self, name: str) -> JsonObject:
        """Open a table; returns `{session, gm_token, url}`. Raises UndyingError, as all that follows."""
        return self._ask("POST", "/v1/sessions", {"name": name})

    def invite(self, session: str, role: Role, name: str, user: str | None) -> JsonObject:
        """Make a token for somebody to join with; returns `{token, url}`."""
        body: JsonObject = {"role": role.value, "name": name}
        if user is not None:
            body["user"] = user
        return self._ask("POST", f"/v1/sessions/{session}/invites", body)

    def status(self) -> JsonObject:
        """Return `{url, actors}`, a row per living thing in the server."""
        return self._ask("GET", "/v1/status", None)

    def history(self, stream: str) -> JsonObject:
        """Return `{id, history}`: how an entity ended so far, latest first."""
        return self._ask("GET", f"/v1/actors/{stream}/history", None)

    def endings(self, limit: int) -> JsonObject:
        """Return `{history, lost}`: up to `limit` endings in the whole tree, the latest first."""
        return self._ask("GET", f"/v1/history?limit={limit}", None)

    def readmit(self, stream: str) -> JsonObject:
        """Have a quarantined or failed entity tried again; returns `{id}`."""
        return self._ask("POST", f"/v1/actors/{stream}/readmit", {})

    def checkpoints(self, stream: str) -> JsonObject:
        """Return `{id, pos, checkpoints}`: what an entity can be rolled back to, newest first."""
        return self._ask("GET", f"/v1/actors/{stream}/checkpoints", None)

    def roll_back(self, stream: str, to: tuple[int, int]) -> JsonObject:
        """Have a quarantined or failed entity set back to a position; returns `{stream, to, dropped}`."""
        return self._ask("POST", f"/v1/actors/{stream}/rollback", {"to": [*to]})

    def drain(self, node: str) -> JsonObject:
        """Begin to empty a node; returns `{node, hosts, gateways}`."""
        return self._ask("POST", f"/v1/nodes/{node}/drain", {})

    def undrain(self, node: str) -> JsonObject:
        """Use a node again that was to be drained; returns `{node}`."""
        return self._ask("DELETE", f"/v1/nodes/{node}/drain", None)

    def restart(self) -> JsonObject:
        """Begin to replace every process."""
        return self._ask("POST", "/v1/restart", {})

    def _ask(self, method: Literal["GET", "POST", "DELETE"], path: str, body: JsonObject | None) -> JsonObject:
        request = urllib.request.Request(self.url + path, method=method)  # noqa: S310 - `find` lets http and https pass only
        request.add_header("Authorization", f"Bearer {self.token}")
        request.add_header("Accept", "application/json")
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        try:
            with _opener(self.url).open(request, timeout=self.timeout_s) as response:
                return _read_object(response.read(BODY_BYTES_MAX))
        except urllib.error.HTTPError as refused:
            with refused:
                raise UndyingError(_read_failure(refused.code, refused.read(BODY_BYTES_MAX))) from None
        except (OSError, http.client.HTTPException) as problem:
            reason = getattr(problem, "reason", None) or problem
            raise error(
                Code.UNAVAILABLE, f"no answer from {self.url}: {reason}; is `undying serve` running?", url=self.url
            ) from problem


def is_ready(url: str, timeout_s: float) -> bool:
    """Tell whether `/readyz` of the server at `url` says 200. Blocks for up to `timeout_s` per wait; never raises."""
    try:
        with _opener(url).open(f"{url}/readyz", timeout=timeout_s) as response:
            return cast(int, response.status) == http.client.OK
    except (OSError, http.client.HTTPException):  # not there yet, or there and not ready (HTTPError is an OSError)
        return False


def _opener(url: str) -> urllib.request.OpenerDirector:
    proxies: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})] if _is_here(url) else []
    return urllib.request.build_opener(_NoRedirects, *proxies)


def _is_here(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _read_object(body: bytes) -> JsonObject:
    try:
        value: Json = json.loads(body)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise error(Code.BAD_FRAME, "the answer is not from an undying server: no JSON object")
    return value


def _read_failure(status: int, body: bytes) -> Failure:
    """Read the error object of an answer; what has none (a proxy in between, say) becomes INTERNAL with the status."""
    try:
        value: Json = json.loads(body)
    except ValueError:
        value = None
    if isinstance(value, dict) and "error" in value:
        value = value["error"]
    if isinstance(value, dict) and isinstance(value.get("code"), str):
        return Failure.from_wire(value)
    return Failure(Code.INTERNAL, f"the server answered with HTTP status {status}", {"status": status})
