"""A provider's rules: it answers what sessions ask, and remembers no more than how often it did.

Comes into being with its first question. Its stream is for no viewer; the answer goes into the ack, and from there into
the journal of the session that asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from pydantic import TypeAdapter

from actors.provider import oracle
from actors.request import read_request
from actors.rules import Accepted, Command, Context, Decision, Op, Refused, private
from undying.protocol.character_ops import AskProvider
from undying.protocol.data import JsonObject
from undying.protocol.events import NOBODY, Event, Viewer
from undying.protocol.ids import Kind


@dataclass(slots=True)
class ProviderState:
    """A provider. `answered` counts its answers."""

    id: str
    configured: bool = False
    answered: int = 0


_STATE: Final = TypeAdapter(ProviderState)


class ProviderRules:
    """The rules of a provider (`actors.rules.Rules`)."""

    kind: Kind = Kind.PROVIDER
    schema: int = 1

    def initial(self, entity_id: str) -> ProviderState:
        """Return a provider that nobody asked yet."""
        return ProviderState(entity_id)

    def exists(self, state: ProviderState) -> bool:
        """Tell whether the provider came into being."""
        return state.configured

    def decide(self, state: ProviderState, op: Op, context: Context) -> Decision:
        """Answer a question of a session."""
        request = read_request(Kind.PROVIDER, op, op.role, context)
        if isinstance(request, Refused):
            return request
        if not isinstance(request.args, AskProvider):
            return Accepted((private("provider.configured", {}, NOBODY),), {})
        text = oracle.answer(request.args.prompt, context.rng)
        event = private("provider.answered", {"count": state.answered + 1}, NOBODY)
        return Accepted((event,), {"text": text, "provider": "oracle", "degraded": False})

    def evolve(self, state: ProviderState, event: Event) -> None:
        """Count an answer."""
        data: dict[str, Any] = event.data
        if event.kind in ("provider.configured", "provider.answered"):
            state.configured = True
            state.answered = data.get("count", state.answered)

    def project(self, state: ProviderState, viewer: Viewer) -> JsonObject:
        """Return what anybody may know: its name."""
        return {"id": state.id}

    def viewer_class(self, state: ProviderState, viewer: Viewer) -> str:
        """Return the one class: everybody gets the same."""
        return "all"

    def streams(self, state: ProviderState, viewer: Viewer) -> Sequence[str]:
        """Return none: a provider leads to no other stream."""
        return ()

    def outbox(self, state: ProviderState) -> Mapping[str, Command]:
        """Return none: a provider wants nothing of others."""
        return {}

    def dump(self, state: ProviderState) -> JsonObject:
        """Return the state as plain data."""
        return cast(JsonObject, _STATE.dump_python(state, mode="json"))

    def load(self, data: JsonObject) -> ProviderState:
        """Return the state that `dump` made the data of. Raises ValueError."""
        return _STATE.validate_python(data)
