"""The map: a scene and tokens on it. Hidden tokens exist only for game masters.

A player moves and changes tokens of a character of theirs, and those that they put there themselves. A token that becomes
hidden is `{id, gone: true}` for everybody else, with the kind of event unchanged.
"""

from __future__ import annotations

from typing import Any, Final, cast

from actors.request import Request
from actors.rules import Accepted, Decision, Draft, Refused, public, refuse
from actors.session.state import TOKENS_BYTES_MAX, TOKENS_MAX, Board, Decider, Evolver, SessionState, Token
from actors.visibility import Views, change
from undying.protocol.data import JsonObject
from undying.protocol.errors import Code
from undying.protocol.events import GMS, Audience, Event, View
from undying.protocol.session_ops import MoveToken, PutToken, RemoveToken, SetMap

_FIELDS: Final = tuple(name for name in Token.__slots__ if name != "more")


def _set_map(state: SessionState, request: Request[SetMap]) -> Decision:
    args = request.args
    return Accepted((public("map.changed", {"scene": args.scene, "grid": args.grid, "image": args.image}),), {})


def _put(state: SessionState, request: Request[PutToken]) -> Decision:
    args, user = request.args, request.user
    known = state.board.tokens.get(args.id)
    if not request.leads:
        if known is not None and known.hidden:
            return refuse(Code.ALREADY_EXISTS, "That id is taken.", id=args.id)
        if known is not None and not _is_own(state, user, known):
            return _not_yours(args.id)
        if args.hidden or (args.character is not None and not state.owns(user, args.character)):
            return refuse(Code.FORBIDDEN, "Only an open token, of your own or of a character of yours.", id=args.id)
    token = Token(
        id=args.id,
        x=args.x,
        y=args.y,
        name=args.name,
        image=args.image,
        size=args.size,
        rotation=args.rotation,
        color=args.color,
        character=args.character,
        hidden=args.hidden,
        by=known.by if known is not None else user,
        more=args.more,
    )
    before = 0 if known is None else known.weight
    if known is None and len(state.board.tokens) >= TOKENS_MAX:
        return refuse(Code.LIMIT_EXCEEDED, f"A map holds at most {TOKENS_MAX} tokens.", limit=TOKENS_MAX)
    if token.weight > before and state.tokens_bytes - before + token.weight > TOKENS_BYTES_MAX:
        limit = TOKENS_BYTES_MAX
        return refuse(Code.LIMIT_EXCEEDED, f"The tokens of a map hold at most {limit} bytes.", limit=limit)
    views = change(token_views(known) if known is not None else (), token_views(token), {"id": args.id, "gone": True})
    return Accepted((Draft("token.changed", views),), {})


def _move(state: SessionState, request: Request[MoveToken]) -> Decision:
    args = request.args
    token = _reachable(state, request, args.id)
    if isinstance(token, Refused):
        return token
    data: JsonObject = {"id": args.id, "x": args.x, "y": args.y}
    return Accepted((Draft("token.moved", (View(_audience(token.hidden), data),)),), {})


def _remove(state: SessionState, request: Request[RemoveToken]) -> Decision:
    token = _reachable(state, request, request.args.id)
    if isinstance(token, Refused):
        return token
    return Accepted((Draft("token.removed", (View(_audience(token.hidden), {"id": token.id}),)),), {})


def _reachable(state: SessionState, request: Request[Any], token_id: str) -> Token | Refused:
    """Return the token when who asks may move it. A hidden one is for others as if it were not there."""
    token = state.board.tokens.get(token_id)
    if token is None or (token.hidden and not request.leads):
        return refuse(Code.NOT_FOUND, "There is no such token.", id=token_id)
    if not request.leads and not _is_own(state, request.user, token):
        return _not_yours(token_id)
    return token


def _is_own(state: SessionState, user: str, token: Token) -> bool:
    return not token.hidden and (token.by == user or state.owns(user, token.character))


def _not_yours(token_id: str) -> Refused:
    return refuse(Code.FORBIDDEN, "That token is not yours.", id=token_id)


def _audience(hidden: bool) -> Audience:
    return (GMS,) if hidden else None


def token_views(token: Token) -> Views:
    """Return a token as events and the snapshot show it: its further keys beside its own."""
    return (View(_audience(token.hidden), {**token.more, **{name: getattr(token, name) for name in _FIELDS}}),)


def scene_data(board: Board) -> JsonObject:
    """Return the scene without its tokens, for the snapshot."""
    return {"scene": board.scene, "grid": board.grid, "image": board.image}


def _evolve_map(state: SessionState, event: Event) -> None:
    data: dict[str, Any] = event.data
    state.board.scene, state.board.image = data["scene"], data["image"]
    state.board.grid = None if data["grid"] is None else dict(data["grid"])


def _evolve_put(state: SessionState, event: Event) -> None:
    data: dict[str, Any] = event.data
    more = {name: value for name, value in data.items() if name not in _FIELDS}
    token = Token(**{name: data[name] for name in _FIELDS}, more=more)
    known = state.board.tokens.get(token.id)
    state.tokens_bytes += token.weight - (0 if known is None else known.weight)
    state.board.tokens[token.id] = token


def _evolve_move(state: SessionState, event: Event) -> None:
    data: dict[str, Any] = event.data
    token = state.board.tokens.get(data["id"])
    if token is not None:
        token.x, token.y = data["x"], data["y"]


def _evolve_remove(state: SessionState, event: Event) -> None:
    token = state.board.tokens.pop(cast(str, event.data["id"]), None)
    if token is not None:
        state.tokens_bytes -= token.weight


DECIDERS: dict[str, Decider] = {"map.set": _set_map, "token.put": _put, "token.move": _move, "token.remove": _remove}
EVOLVERS: dict[str, Evolver] = {
    "map.changed": _evolve_map,
    "token.changed": _evolve_put,
    "token.moved": _evolve_move,
    "token.removed": _evolve_remove,
}
