"""Questions to an AI provider, and its answers.

A question and its answer have one visibility. What goes to the provider besides the question are lines that the whole
table heard: so an answer can't give a whisper away, whoever sees it.
"""

from __future__ import annotations

from typing import Any, Final, cast

from actors.request import Request
from actors.rules import Accepted, Command, Decision, Draft, refuse
from actors.session.state import (
    ASKS_BYTES_MAX,
    ASKS_PENDING_BYTES_MAX,
    ASKS_PENDING_MAX,
    ASKS_WINDOW,
    Ask,
    Decider,
    Evolver,
    SessionState,
)
from actors.visibility import Views, audience_of
from undying.protocol.character_ops import CONTEXT_LINES_MAX
from undying.protocol.data import JsonObject
from undying.protocol.errors import Code, Failure
from undying.protocol.events import Event, View
from undying.protocol.ids import Kind, stream_name
from undying.protocol.session_ops import AskAi, Replied

ASK = "ask-"
"""How the keys of commands to providers begin; the question's id follows."""

PROVIDERS: Final = ("oracle",)
CONTEXT_LINES: Final = 8
CONTEXT_LINE_MAX: Final = 500
ANSWER_MAX: Final = 10_000
ERROR_MAX: Final = 500

assert CONTEXT_LINES <= CONTEXT_LINES_MAX


def _ask(state: SessionState, request: Request[AskAi]) -> Decision:
    args = request.args
    if args.provider not in PROVIDERS:
        return refuse(Code.NOT_FOUND, "There is no such AI provider.", provider=args.provider)
    if sum(ask.pending for ask in state.asks.values()) >= ASKS_PENDING_MAX:
        limit = ASKS_PENDING_MAX
        return refuse(Code.LIMIT_EXCEEDED, f"At most {limit} questions wait for an answer at a time.", limit=limit)
    visibility = args.visibility if isinstance(args.visibility, str) else list(args.visibility)
    ask = Ask(request.context.new_id(), request.user, 0, args.prompt, args.provider, visibility, [])
    if ask.weight + sum(other.weight for other in state.asks.values() if other.pending) > ASKS_PENDING_BYTES_MAX:
        limit = ASKS_PENDING_BYTES_MAX
        return refuse(Code.LIMIT_EXCEEDED, f"The questions that wait for an answer hold at most {limit} bytes.", limit=limit)
    data = {"ask": ask.id, "prompt": args.prompt, "provider": args.provider, "visibility": visibility}
    view = View(audience_of(args.visibility, request.user), cast(JsonObject, data))
    return Accepted((Draft("ai.asked", (view,)),), {"ask": ask.id})


def answered(state: SessionState, ask_id: str, reply: Replied) -> Decision:
    """Decide what follows from a provider's answer."""
    ask = state.asks[ask_id]
    audience = audience_of(ask.visibility, ask.by)
    result = reply.result
    if reply.ok and isinstance(result, dict) and isinstance(result.get("text"), str):
        answer: JsonObject = {
            "ask": ask_id,
            "text": result["text"][:ANSWER_MAX],
            "provider": str(result.get("provider", ask.provider))[:64],
            "degraded": bool(result.get("degraded", False)),
        }
        return Accepted((Draft("ai.answered", (View(audience, answer),)),))
    if reply.ok or not isinstance(reply.error, dict):
        failure = Failure(Code.AI_PROVIDER_ERROR, "The AI provider gave no answer.")
    else:
        told = Failure.from_wire(reply.error)
        failure = Failure(told.code, told.message[:ERROR_MAX])
    return Accepted((Draft("ai.failed", (View(audience, {"ask": ask_id, "error": failure.to_wire()}),)),))


def commands(state: SessionState) -> dict[str, Command]:
    """Return the questions that wait for their answers."""
    return {
        ASK + ask.id: Command(
            stream_name(Kind.PROVIDER, ask.provider),
            "ask",
            {"prompt": ask.prompt, "context": [*ask.context]},
            create=True,
        )
        for ask in state.asks.values()
        if ask.pending
    }


def ask_views(ask: Ask) -> Views:
    """Return a question and its answer as the snapshot shows them."""
    visibility = ask.visibility if isinstance(ask.visibility, str) else list(ask.visibility)
    data: dict[str, Any] = {
        "ask": ask.id,
        "by": ask.by,
        "at": ask.at,
        "prompt": ask.prompt,
        "provider": ask.provider,
        "visibility": visibility,
    }
    if ask.text is not None:
        data |= {"text": ask.text, "degraded": ask.degraded}
    if ask.error is not None:
        data["error"] = ask.error
    return (View(audience_of(ask.visibility, ask.by), data),)


def _evolve_asked(state: SessionState, event: Event) -> None:
    data: dict[str, Any] = event.data
    visibility = data["visibility"] if isinstance(data["visibility"], str) else list(data["visibility"])
    heard = [line.text[:CONTEXT_LINE_MAX] for line in state.chat if not line.to][-CONTEXT_LINES:]
    state.asks[data["ask"]] = Ask(data["ask"], event.by, event.at, data["prompt"], data["provider"], visibility, heard)
    _trim(state)


def _evolve_answered(state: SessionState, event: Event) -> None:
    data: dict[str, Any] = event.data
    ask = state.asks.get(data["ask"])
    if ask is not None:
        ask.text, ask.provider, ask.degraded, ask.context = data["text"], data["provider"], data["degraded"], []
        _trim(state)


def _evolve_failed(state: SessionState, event: Event) -> None:
    data: dict[str, Any] = event.data
    ask = state.asks.get(data["ask"])
    if ask is not None:
        ask.error, ask.context = dict(data["error"]), []
        _trim(state)


def _trim(state: SessionState) -> None:
    """Drop the oldest settled questions beyond the bounds. One that waits for its answer stays."""
    size = sum(ask.weight for ask in state.asks.values())
    settled = [ask for ask in state.asks.values() if not ask.pending]
    beyond = len(settled) - ASKS_WINDOW
    for at, ask in enumerate(settled):
        if at >= beyond and size <= ASKS_BYTES_MAX:
            return
        del state.asks[ask.id]
        size -= ask.weight


DECIDERS: dict[str, Decider] = {"ai.ask": _ask}
EVOLVERS: dict[str, Evolver] = {"ai.asked": _evolve_asked, "ai.answered": _evolve_answered, "ai.failed": _evolve_failed}
