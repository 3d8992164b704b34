"""The settings of a server: one frozen object, made when `undying serve` starts and passed down.

Where a value comes from, first one found: the option on the command line, the `UNDYING_…` variable, the default here. An empty
variable counts as not set. Other processes get the object as plain data (`to_plain`) and never look at their environment.

Secrets (`admin_token`, `redis_url`, which may hold a password) are not in the object's text and not in error messages, but
they are in the plain data: who logs that, leaks them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final, Literal, Self, cast
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from persistence.durability import Durability
from undying.protocol.data import JsonObject

ENV_PREFIX: Final = "UNDYING_"
STORE_SCHEMES: Final = ("redis", "rediss", "unix")

LogLevel = Literal["debug", "info", "warning", "error"]


def _absolute(path: Path) -> Path:
    """Make the path independent of the working directory, which other processes do not share."""
    return Path(os.path.abspath(path.expanduser()))  # noqa: PTH100 - resolve() would follow links


def _store_url(url: str) -> str:
    if urlsplit(url).scheme not in STORE_SCHEMES:
        raise ValueError("a store's url starts with redis://, rediss:// or unix://")
    return url


def _web_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("a public url is http(s)://host with an optional port and path")
    return url.rstrip("/")


Token = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,1024}$")]
"""What fits into an `Authorization` header as it is."""


class ServeSettings(BaseSettings):
    """What can be chosen about a server. Raises ValidationError when a value is out of its bounds."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_ignore_empty=True, frozen=True, extra="forbid", hide_input_in_errors=True
    )

    host: Annotated[str, Field(min_length=1, max_length=255)] = "127.0.0.1"
    """Address to listen on; only this machine by default."""

    port: Annotated[int, Field(ge=0, le=65_535)] = 8420
    """TCP port for everything; 0 takes a free one."""

    data_dir: Annotated[Path, AfterValidator(_absolute)] = Field(default=Path(".undying"), validate_default=True)
    """Where the embedded store, the admin token and the server's url are; absolute."""

    redis_url: Annotated[str, AfterValidator(_store_url)] | None = Field(default=None, repr=False)
    """A Redis or Valkey to use in place of the embedded store. May hold a password."""

    ray_address: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    """A Ray cluster to join in place of one that ends with the server."""

    actors_per_node: Annotated[int, Field(ge=1, le=10_000)] = 64
    """Entities of a node that get a process of their own; further ones share."""

    spares: Annotated[int, Field(ge=0, le=64)] = 2
    """Empty processes that wait, already started."""

    gateways: Annotated[int, Field(ge=1, le=64)] = 1
    """Gateway processes that share the port."""

    durability: Durability = Durability.ALWAYS
    """When a commit counts as written, and so may be acknowledged."""

    rate_limit: Annotated[int, Field(ge=0, le=1_000_000)] = 30
    """Ops per second and user; 0 turns all rate and join limits off."""

    log_level: LogLevel = "info"

    checkpoint_events: Annotated[int, Field(ge=1, le=100_000)] = 150
    """Events of an entity after which its state is saved."""

    checkpoint_s: Annotated[float, Field(ge=0.1, le=3_600, allow_inf_nan=False)] = 30.0
    """Seconds after which a changed state is saved."""

    rest_s: Annotated[float, Field(ge=0, le=604_800, allow_inf_nan=False)] = 900.0
    """Seconds after which a table with nobody at it goes to rest and frees its place; 0 is never."""

    hang_s: Annotated[float, Field(ge=0.5, le=600, allow_inf_nan=False)] = 5.0
    """Seconds without an answer after which a process counts as hung, is killed and replaced."""

    memory_mb: Annotated[int, Field(ge=0, le=1_048_576)] = 2_048
    """MiB of memory that one process may hold before it is killed and replaced; 0 is without a bound."""

    public_url: Annotated[str, AfterValidator(_web_url)] | None = None
    """How clients reach the server when that is not how it sees itself (a proxy in front)."""

    admin_token: Token | None = Field(default=None, repr=False)
    """The token of the management API. None: the one in the data directory."""

    @model_validator(mode="after")
    def _replicas_need_a_store_of_ones_own(self) -> Self:
        if self.durability is Durability.REPLICATED and self.redis_url is None:
            raise ValueError("durability 'replicated' needs a redis_url: the embedded store has no replica")
        return self

    def replace(self, **changes: object) -> Self:
        """Return a copy with other values, checked like the first. Raises ValidationError."""
        return type(self).model_validate({**self.model_dump(), **changes})

    def to_plain(self) -> JsonObject:
        """Return all values, secrets too, as plain data for `from_plain` in another process."""
        return cast(JsonObject, self.model_dump(mode="json"))

    @classmethod
    def from_plain(cls, data: JsonObject) -> Self:
        """Read what `to_plain` returned; the environment has no say. Raises ValueError when it is not that."""
        missing = cls.model_fields.keys() - data.keys()
        if missing:
            raise ValueError(f"settings lack {', '.join(sorted(missing))}")
        return cls.model_validate(data)


def explain(problem: ValidationError) -> str:
    """Say for a person which setting is wrong and why, a line each, without the values (they may be secrets)."""
    lines = []
    for item in problem.errors(include_url=False, include_input=False, include_context=False):
        name = ".".join(str(part) for part in item["loc"] if isinstance(part, str) and part in ServeSettings.model_fields)
        message = item["msg"].removeprefix("Value error, ")
        lines.append(f"{name}: {message}" if name else message)
    return "\n".join(lines)
