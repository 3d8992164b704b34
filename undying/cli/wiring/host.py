"""The program `host`: the process in which entities live, with the rules of every kind."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any, Final

from actors.character import CharacterRules
from actors.direct import DirectServer
from actors.host import Host, HostSettings
from actors.peers import LocatedPeers
from actors.provider import ProviderRules
from actors.rules import Rules
from actors.runtime import Inside, ProgramFailed
from actors.session import SessionRules
from persistence.migrations import Upcasters
from supervision.locator import SUPERVISORS, Locator
from supervision.reach import Reach
from undying.cli.datadir import socket_of
from undying.cli.wiring.environment import now_ms, open_store, read_settings, ways
from undying.protocol.data import JsonObject
from undying.protocol.errors import Code, error
from undying.protocol.ids import Kind, split_stream

RULES: Final[dict[Kind, Rules[Any]]] = {
    Kind.SESSION: SessionRules(),
    Kind.CHARACTER: CharacterRules(),
    Kind.PROVIDER: ProviderRules(),
}
DIRECT_METHODS: Final = frozenset({"submit", "poll"})
UPCASTERS: Final = Upcasters()


async def build_host(settings: JsonObject, inside: Inside, rules: Mapping[Kind, Rules[Any]] = RULES) -> Host:
    """Build the program `host`. `rules`: of each kind of entity. Raises UndyingError DATABASE_UNAVAILABLE."""
    serve = read_settings(settings, inside)
    rng = random.Random()
    locator = Locator(inside.runtime, rng, near=inside.name, ways=ways(serve, inside))
    return Host(
        store=await open_store(serve),
        rules=rules,
        upcasters=UPCASTERS,
        peers=lambda host: LocatedPeers(host, locator),
        settings=HostSettings(serve.checkpoint_events, serve.checkpoint_s, serve.rest_s),
        now_ms=now_ms,
        rng=rng,
        tell_rested=RestTellers(inside, rng).tell,
        direct=DirectServer(socket_of(serve.data_dir, inside.node, inside.name), DIRECT_METHODS),
    )


class RestTellers:
    """Tells the supervisors of each kind which of their entities went to rest in this process."""

    def __init__(self, inside: Inside, rng: random.Random) -> None:
        self._host = inside.name
        self._owners = {kind: Reach(inside.runtime, name, rng) for kind, name in SUPERVISORS.items()}

    async def tell(self, lives: Sequence[tuple[str, int]]) -> None:
        """See `actors.resting.Tell`."""
        for kind, owner in self._owners.items():
            theirs = [life for life in lives if split_stream(life[0])[0] is kind]
            if theirs:
                try:
                    await owner.call("rested", self._host, theirs)
                except ProgramFailed as failed:
                    raise error(
                        Code.UNAVAILABLE, f"{kind.value}s at rest were not taken note of", reason=str(failed)
                    ) from failed
