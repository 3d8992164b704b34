"""Who waits in a host for the answer to an op, and how each is told."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from actors.answers import Answer
from actors.mailbox import Mailbox
from undying.protocol.data import JsonObject
from undying.protocol.errors import Code, UndyingError, error
from undying.protocol.link import Acked, Failed

Loss: TypeAlias = Literal["moved", "store"]
"""Why there is no answer: the entity is not here, or it is being brought back here."""


class FromGateway(NamedTuple):
    """The `ref` of a gateway's item. `joins`: the user, when it is a join; then the reply names their streams."""

    mailbox: Mailbox
    ref: int
    joins: str | None = None

    @property
    def source(self) -> Hashable:
        """Return the gateway. Its connections are many, but a user asks an op on one of them at a time."""
        return self.mailbox.owner

    def replaced(self) -> None:
        """Do nothing: who asked this way has gone, or is the same who asked again; else the gateway's time limit tells them."""

    def answer(self, answer: Answer, *, dup: bool) -> None:
        """Put the answer into the mailbox."""
        self.mailbox.put(Acked("ack", self.ref, answer.position, answer.result, answer.error, dup))

    def fail(self, reason: Loss, stream: str) -> None:
        """Say that it was not done, or that this is not known."""
        self.mailbox.put(Failed("fail", self.ref, reason))


@dataclass(frozen=True, slots=True)
class FromPeer:
    """Another entity, or (None) nobody."""

    future: asyncio.Future[JsonObject] | None

    @property
    def source(self) -> Hashable:
        """Return one for all: the op's user is the entity that asks, and its courier asks once at a time."""
        return None

    def replaced(self) -> None:
        """Say that there is no answer: the courier asks once at a time, so this call was lost to it."""
        self._raise(error(Code.UNAVAILABLE, "asked again since"))

    def answer(self, answer: Answer, *, dup: bool) -> None:
        """Hand over the answer."""
        if self.future is None or self.future.done():
            return
        if answer.error is None:
            self.future.set_result({"ok": True, "result": answer.result})
        else:
            self.future.set_result({"ok": False, "error": answer.error})

    def fail(self, reason: Loss, stream: str) -> None:
        """Say that it was not done, or that this is not known."""
        self._raise(error(Code.UNAVAILABLE, f"{stream} is not live here", stream=stream))

    def _raise(self, failure: UndyingError) -> None:
        if self.future is not None and not self.future.done():
            self.future.set_exception(failure)


Waiter: TypeAlias = FromGateway | FromPeer
