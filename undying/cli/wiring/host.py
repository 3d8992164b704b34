"""The program `host`: the process in which entities live, with the rules of every kind."""

from __future__ import annotations

import random
from typing import Any, Final

from actors.character import CharacterRules
from actors.host import Host, HostSettings
from actors.peers import LocatedPeers
from actors.provider import ProviderRules
from actors.rules import Rules
from actors.runtime import Inside
from actors.session import SessionRules
from persistence.migrations import Upcasters
from supervision.locator import Locator
from undying.cli.wiring.environment import now_ms, open_store, read_settings
from undying.protocol.data import JsonObject
from undying.protocol.ids import Kind

RULES: Final[dict[Kind, Rules[Any]]] = {
    Kind.SESSION: SessionRules(),
    Kind.CHARACTER: CharacterRules(),
    Kind.PROVIDER: ProviderRules(),
}
UPCASTERS: Final = Upcasters()


async def build_host(settings: JsonObject, inside: Inside) -> Host:
    """Build the program `host`. Raises UndyingError DATABASE_UNAVAILABLE."""
    serve = read_settings(settings, inside)
    rng = random.Random()
    locator = Locator(inside.runtime, rng, near=inside.name)
    return Host(
        store=await open_store(serve),
        rules=RULES,
        upcasters=UPCASTERS,
        peers=lambda host: LocatedPeers(host, locator),
        settings=HostSettings(serve.checkpoint_events, serve.checkpoint_s),
        now_ms=now_ms,
        rng=rng,
    )
