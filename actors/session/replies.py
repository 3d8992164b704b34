"""Answers to the session's commands: which saga or question each belongs to. One that nobody waits for changes nothing."""

from __future__ import annotations

from actors.request import Request
from actors.rules import REPLIED, Accepted, Decision
from actors.session import narrator, seats
from actors.session.state import Decider, SessionState
from undying.protocol.session_ops import Replied


def _replied(state: SessionState, request: Request[Replied]) -> Decision:
    reply = request.args
    subject = reply.key.partition("-")[2]
    creation = state.creations.get(subject)
    if creation is not None and reply.key == seats.STORE + subject and creation.cause is None:
        return seats.stored(state, subject, reply)
    if creation is not None and reply.key == seats.RETIRE + subject and creation.cause is not None:
        return seats.retired(state, subject)
    ask = state.asks.get(subject)
    if ask is not None and ask.pending and reply.key == narrator.ASK + subject:
        return narrator.answered(state, subject, reply)
    return Accepted((), {})


DECIDERS: dict[str, Decider] = {REPLIED: _replied}
