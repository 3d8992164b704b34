"""A toy entity: it keeps lines, and can be made to refuse, to crash, to answer later and to ask others."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from actors.rules import (
    REPLIED,
    Accepted,
    Command,
    Context,
    Decision,
    Draft,
    Op,
    Settlement,
    private,
    public,
    refuse,
)
from undying.protocol.data import JsonObject
from undying.protocol.effects import ChangeRole
from undying.protocol.errors import Code
from undying.protocol.events import GMS, Event, Viewer
from undying.protocol.ids import Kind, Role

Toy = dict[str, Any]


class ToyRules:
    """The rules of the toy; `decided` lists the ids of all ops that were decided, `crashes` lets `crash` do so."""

    kind = Kind.SESSION
    schema = 1

    def __init__(self) -> None:
        self.decided: list[str] = []
        self.crashes = True

    def initial(self, entity_id: str) -> Toy:
        return {"created": False, "lines": [], "secrets": [], "outbox": {}, "roles": {}}

    def exists(self, state: Toy) -> bool:
        return bool(state["created"])

    def decide(self, state: Toy, op: Op, context: Context) -> Decision:
        self.decided.append(op.id)
        args: dict[str, Any] = op.args
        match op.kind:
            case "create":
                return Accepted((public("created", {}),))
            case "say":
                return Accepted((public("said", {"text": args["text"]}),), {"text": args["text"]})
            case "secret":
                return Accepted((private("hid", {"text": args["text"]}, (GMS,)),))
            case "nothing":
                return Accepted((), {"lines": len(state["lines"])})
            case "refuse":
                return refuse(Code.WRONG_STATE, "not now", lines=len(state["lines"]))
            case "busy":
                return refuse(Code.RATE_LIMITED, "soon")
            case "bad":
                return refuse(Code.BAD_ARGS, "no")
            case "crash":
                if self.crashes:
                    raise RuntimeError("a defect of the rules")
                return Accepted((public("said", {"text": "crashed no more"}),))
            case "later":
                return Accepted((public("asked", {}),), later=True)
            case "settle":
                settled = Settlement(args["user"], args["id"], {"settled": True})
                return Accepted((public("settled", {}),), settles=(settled,))
            case "send":
                return Accepted((public("sent", {"key": op.id, "to": args["to"]}),))
            case "role":
                effect = ChangeRole("role", args["user"], args["role"])
                return Accepted((public("role", dict(args)),), effects=(effect,))
            case "member.join":
                role = state["roles"].get(args["user"], args["role"])
                return Accepted((), {"name": args["name"], "role": role})
        if op.kind == REPLIED:
            return Accepted((public("heard", {"key": args["key"], "ok": args["ok"]}),))
        return refuse(Code.BAD_OP, "no such op")

    def evolve(self, state: Toy, event: Event) -> None:
        data: dict[str, Any] = event.data
        match event.kind:
            case "created":
                state["created"] = True
            case "said":
                state["lines"].append(data["text"])
            case "hid":
                state["secrets"].append(data["text"])
            case "sent":
                state["outbox"][data["key"]] = data["to"]
            case "heard":
                state["outbox"].pop(data["key"], None)
            case "role":
                state["roles"][data["user"]] = data["role"]

    def project(self, state: Toy, viewer: Viewer) -> JsonObject:
        seen: JsonObject = {"lines": list(state["lines"])}
        return {**seen, "secrets": list(state["secrets"])} if viewer.role is Role.GM else seen

    def viewer_class(self, state: Toy, viewer: Viewer) -> str:
        return "gm" if viewer.role is Role.GM else "table"

    def streams(self, state: Toy, viewer: Viewer) -> Sequence[str]:
        return ["character:c"]

    def outbox(self, state: Toy) -> Mapping[str, Command]:
        return {key: Command(to, "say", {"text": "from afar"}) for key, to in state["outbox"].items()}

    def dump(self, state: Toy) -> JsonObject:
        return copy.deepcopy(state)

    def load(self, data: JsonObject) -> Toy:
        if "lines" not in data:
            raise ValueError("not a toy")
        return copy.deepcopy(data)


def said(text: str) -> Draft:
    return public("said", {"text": text})
