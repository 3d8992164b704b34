"""Entities ask each other: in the same host directly, elsewhere through the runtime. Callers can't tell."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, Protocol, TypeVar, cast

from actors.runtime import Ref, RuntimeFault
from undying.protocol.data import JsonObject
from undying.protocol.errors import Code, UndyingError, error

KNOWN_MAX: Final = 512
"""Entities of which it is remembered where they were found, and as many of which it is remembered where they failed."""

T = TypeVar("T")


class Locator(Protocol):
    """Where entities live."""

    async def locate(self, stream: str, *, create: bool = False, avoid: str = "") -> Ref:
        """Return the host in which the entity is live, bringing it to life when it is not.

        `avoid` names a host that was just seen to fail. Raises UndyingError NOT_FOUND, QUARANTINED, UNAVAILABLE.
        """
        ...


class Nearby(Protocol):
    """The host that asks."""

    def lives_here(self, stream: str) -> bool:
        """Tell whether the entity is live in this host."""
        ...

    async def ask(self, stream: str, op_id: str, kind: str, args: JsonObject, user: str) -> JsonObject:
        """See `actors.host.Host.ask`."""
        ...


class LocatedPeers:
    """Finds the other entity, asks it, and next time asks the locator anew when that failed."""

    def __init__(self, here: Nearby, locator: Locator) -> None:
        self._here = here
        self._locator = locator
        self._known: OrderedDict[str, Ref] = OrderedDict()
        self._failed: OrderedDict[str, str] = OrderedDict()

    async def ask(self, stream: str, op_id: str, kind: str, args: JsonObject, user: str, *, create: bool) -> JsonObject:
        """Return `{ok, result | error}`. Raises UndyingError; UNAVAILABLE also when the outcome is unknown."""
        if self._here.lives_here(stream):
            return await self._here.ask(stream, op_id, kind, args, user)
        ref = None
        try:
            ref = self._known.get(stream) or await self._locator.locate(
                stream, create=create, avoid=self._failed.get(stream, "")
            )
            _keep(self._known, stream, ref)
            self._failed.pop(stream, None)
            return cast(JsonObject, await ref.call("ask", stream, op_id, kind, args, user))
        except RuntimeFault as fault:
            self._forget(stream, ref)
            raise error(Code.UNAVAILABLE, f"{stream} did not answer", stream=stream) from fault
        except UndyingError:
            self._forget(stream, ref)
            raise

    def _forget(self, stream: str, ref: Ref | None) -> None:
        if ref is not None and self._known.get(stream) is ref:
            del self._known[stream]
            _keep(self._failed, stream, ref.name)


def _keep(table: OrderedDict[str, T], stream: str, what: T) -> None:
    table[stream] = what
    table.move_to_end(stream)
    if len(table) > KNOWN_MAX:
        table.popitem(last=False)
