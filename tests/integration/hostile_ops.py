"""The table of bad ops: well-formed frames that ask for what does not exist, makes no sense, or is not theirs to ask."""

from __future__ import annotations

from typing import Any, Final

from tests.integration.hostile_rows import OP_ID, Acked, Row, addressed, asked, bad_op, deep, roll, said

ADDRESSES: Final = (
    Row("no stream", said({"t": "op", "id": OP_ID, "k": "chat.say", "d": {}}), Acked("BAD_ARGS")),
    Row("a stream that is a number", addressed(7), Acked("BAD_ARGS")),
    Row("a stream that is none", addressed("nonsense"), Acked("NOT_FOUND")),
    Row("a stream with a path in it", addressed("session:../../etc/passwd"), Acked("NOT_FOUND")),
    Row("a stream with a key's end in it", addressed("session:x}:log"), Acked("NOT_FOUND")),
    Row("a stream of 60 kB", addressed("session:" + "x" * 60_000), Acked("NOT_FOUND")),
    Row("the server's own session", addressed("session:readyz"), Acked("NOT_FOUND")),
    Row("the provider", asked("ask", {"prompt": "x"}, "provider"), Acked("NOT_FOUND")),
    Row("another table", asked("chat.say", {"text": "hello"}, "other"), Acked("NOT_FOUND")),
    Row("a character of another table", asked("hp.change", {"delta": -5}, "foreign"), Acked("NOT_FOUND")),
    Row("a kind that is a number", asked(7, {}), Acked("BAD_OP")),
    Row("args that are a list", asked("chat.say", ["hello"]), Acked("BAD_ARGS")),
    Row("args that are null", asked("chat.say", None), Acked("BAD_ARGS")),
)

_SHEET: Final = {"name": "Eve"}
_ENTRIES: Final = [{"id": f"a{at}", "name": "a", "value": 1} for at in range(101)]

OPS: Final = (
    bad_op("an unknown op", "chat.shout", {"text": "x"}, "BAD_OP"),
    bad_op("an op with an empty name", "", {}, "BAD_OP"),
    bad_op("an op with a name of 60 kB", "x" * 60_000, {}, "BAD_OP"),
    bad_op("an op with a null byte", "chat.say\x00", {"text": "x"}, "BAD_OP"),
    bad_op("an op of a character", "hp.change", {"delta": 1}, "BAD_OP"),
    bad_op("an op of a session on a character", "chat.say", {"text": "x"}, "BAD_OP", on="ben"),
    bad_op("internal: session.create", "session.create", {"name": "mine"}, "BAD_OP"),
    bad_op("internal: session.create by a GM", "session.create", {"name": "mine"}, "BAD_OP", who="mia"),
    bad_op("internal: member.join", "member.join", {"user": "eve", "name": "Eve", "role": "gm", "issued": 0}, "BAD_OP"),
    bad_op("internal: @replied", "@replied", {"key": "store-x", "ok": True}, "BAD_OP"),
    bad_op("internal: @replied by a GM", "@replied", {"key": "store-x", "ok": True}, "BAD_OP", who="mia"),
    bad_op("internal: character.store", "character.store", {"sheet": _SHEET, "session": "x"}, "BAD_OP", on="ben"),
    bad_op("internal: character.retire by a GM", "character.retire", {}, "BAD_OP", on="ben", who="mia"),
    bad_op("no text", "chat.say", {}),
    bad_op("a text that is a number", "chat.say", {"text": 7}),
    bad_op("an empty text", "chat.say", {"text": ""}),
    bad_op("a blank text", "chat.say", {"text": " \n\t"}),
    bad_op("a text of 10,001 characters", "chat.say", {"text": "x" * 10_001}),
    bad_op("an unknown mode", "chat.say", {"text": "x", "mode": "shout"}),
    bad_op("a whisper to a string", "chat.say", {"text": "x", "to": "ben-user"}),
    bad_op("a whisper to the audience of GMs", "chat.say", {"text": "x", "to": ["@gm"]}),
    bad_op("a whisper to nobody", "chat.say", {"text": "x", "to": []}),
    bad_op("a whisper to 65 users", "chat.say", {"text": "x", "to": [f"u{at}" for at in range(65)]}),
    bad_op("a whisper to a stranger", "chat.say", {"text": "x", "to": ["nobody"]}, "NOT_FOUND"),
    bad_op("hit points as text", "hp.change", {"delta": "7"}, on="ben", who="ben"),
    bad_op("hit points as true", "hp.change", {"delta": True}, on="ben", who="ben"),
    bad_op("hit points as a fraction", "hp.change", {"delta": 1.5}, on="ben", who="ben"),
    bad_op("hit points of 2**63", "hp.change", {"delta": 2**63}, on="ben", who="ben"),
    bad_op("hit points below nothing", "hp.set", {"value": -1}, on="ben", who="ben"),
    bad_op("a sheet's path to nowhere", "sheet.set", {"path": "__class__.__init__", "value": 1}, on="ben", who="ben"),
    bad_op("a sheet's path of dots", "sheet.set", {"path": "....", "value": 1}, on="ben", who="ben"),
    bad_op("a sheet's path of 501 characters", "sheet.set", {"path": "x" * 501, "value": 1}, on="ben", who="ben"),
    bad_op("a sheet's list at -1", "sheet.set", {"path": "inventory.-1.qty", "value": 1}, on="ben", who="ben"),
    bad_op("a sheet's value too deep", "sheet.set", {"path": "attributes.x", "value": deep(7)}, on="ben", who="ben"),
    bad_op("a sheet's value of 20 kB", "sheet.set", {"path": "attributes.x", "value": "x" * 20_000}, on="ben", who="ben"),
    bad_op("an item with a key of 10 kB", "item.add", {"name": "rope", "y" * 10_000: 1}, on="ben", who="ben"),
    bad_op("an item with 20 kB to say of it", "item.add", {"name": "rope", "y": "x" * 20_000}, on="ben", who="ben"),
    bad_op("a sheet without a name", "character.create", {"sheet": {}}),
    bad_op(
        "a sheet with more points than its maximum", "character.create", {"sheet": {**_SHEET, "hp": {"current": 2, "max": 1}}}
    ),
    bad_op("a character for somebody else", "character.create", {"sheet": _SHEET, "owner": "ben-user"}, "FORBIDDEN"),
    bad_op("a character for a stranger", "character.create", {"sheet": _SHEET, "owner": "x"}, "NOT_FOUND", who="mia"),
    bad_op("a token at infinity", "token.put", {"id": "t", "x": 10**9, "y": 0}),
    bad_op("a token at true", "token.put", {"id": "t", "x": True, "y": 0}),
    bad_op("a token with a key of 10 kB", "token.put", {"id": "t", "x": 1, "y": 1, "y" * 10_000: 1}),
    bad_op("a token with 3 kB to say of it", "token.put", {"id": "t", "x": 1, "y": 1, "story": "x" * 3_000}),
    bad_op("a hidden token by a player", "token.put", {"id": "t", "x": 1, "y": 1, "hidden": True}, "FORBIDDEN"),
    bad_op("a token of somebody else's character", "token.put", {"id": "t", "x": 1, "y": 1, "character": "x"}, "FORBIDDEN"),
    bad_op("moving a hidden token", "token.move", {"id": "lurker", "x": 1, "y": 1}, "NOT_FOUND"),
    bad_op("a token under a hidden one's id", "token.put", {"id": "lurker", "x": 1, "y": 1}, "ALREADY_EXISTS"),
    bad_op(
        "an entry under a hidden one's id", "initiative.add", {"entry": {"id": "e", "name": "e", "value": 1}}, "ALREADY_EXISTS"
    ),
    bad_op("nothing added to a note", "note.append", {"id": "plot", "text": ""}),
    bad_op("reading a GM's note", "note.append", {"id": "plot", "text": "x"}, "NOT_FOUND"),
    bad_op("a provider that is none", "ai.ask", {"prompt": "x", "provider": "../x"}),
    bad_op("a provider that is unknown", "ai.ask", {"prompt": "x", "provider": "gpt"}, "NOT_FOUND"),
    bad_op("two entries of one id", "initiative.set", {"entries": [{"id": "a", "name": "a", "value": 1}] * 2}, who="mia"),
    bad_op(
        "101 entries", "initiative.set", {"entries": [{"id": f"a{i}", "name": "a", "value": 1} for i in range(101)]}, who="mia"
    ),
    bad_op("the last game masters' leave", "member.set_role", {"user": "nobody", "role": "player"}, "NOT_FOUND", who="mia"),
    bad_op("the role of the server itself", "member.set_role", {"user": "ada-user", "role": "system"}, who="mia"),
)

ROLLS: Final = (
    roll("a million", "1000000d6"),
    roll("a die of a million sides", "1d1000000"),
    roll("a die without sides", "1d0"),
    roll("exploding for ever", "1d1e1", "LIMIT_EXCEEDED"),
    roll("rerolling for ever", "1d1rr1", "LIMIT_EXCEEDED"),
    roll("501 by a sum", "+".join(["100d6"] * 6)),
    roll("a bomb of parentheses", "(" * 90 + "1" + ")" * 90),
    roll("a bomb of signs", "-" * 199 + "1"),
    roll("201 characters", "1+" * 100 + "1"),
    roll("50 kB", "1+" * 25_000 + "1"),
    roll("nothing", ""),
    roll("a null byte", "1d6\x00"),
    roll("no ASCII", "1d６"),
    roll("code", "__import__('os').system('true')"),
    roll("an attribute", "().__class__"),
    roll("500 dice looked at 60 times", "500d6" + "k<7" * 60, "LIMIT_EXCEEDED"),
    roll("a division by zero", "1d6/0", "WRONG_STATE"),
    roll("a remainder by zero", "1d6%0", "WRONG_STATE"),
    roll("a division by zero without dice", "1/0"),
    roll("a number too large", "9" * 100 + "*1d9*" + "9" * 90, "LIMIT_EXCEEDED"),
    roll("a number too large without dice", "9" * 100 + "*" + "9" * 90),
    bad_op("dice: for nobody", "dice.roll", {"expr": "1d6", "character": "nobody"}, "NOT_FOUND"),
    roll("a power", "9**9**9"),
    roll("a list", ["1d6"]),
    roll("a number", 6),
    roll("null", None),
)

_GM_ONLY: Final[dict[str, Any]] = {
    "combat.start": {},
    "combat.end": {},
    "initiative.set": {"entries": []},
    "initiative.prev": {},
    "map.set": {"scene": "hell"},
    "character.seat": {"character": "x"},
    "character.unseat": {"character": "x"},
    "member.set_role": {"user": "ada-user", "role": "gm"},
    "member.remove": {"user": "ben-user"},
    "session.rename": {"name": "mine"},
    "session.pause": {},
    "session.resume": {},
}

FORBIDDEN: Final = (
    *(
        bad_op(f"{kind} by {who}", kind, args, "FORBIDDEN", who=who)
        for kind, args in _GM_ONLY.items()
        for who in ("ada", "sam", "ai")
    ),
    bad_op("a spectator's chat", "chat.say", {"text": "x"}, "FORBIDDEN", who="sam"),
    bad_op("a spectator's roll", "dice.roll", {"expr": "1d6"}, "FORBIDDEN", who="sam"),
    bad_op("a spectator's question", "ai.ask", {"prompt": "x"}, "FORBIDDEN", who="sam"),
    bad_op("an agent's character", "character.create", {"sheet": _SHEET}, "FORBIDDEN", who="ai"),
    bad_op("damage to somebody else's character", "hp.change", {"delta": -5}, "FORBIDDEN", on="ben"),
    bad_op("damage by a spectator", "hp.change", {"delta": -5}, "FORBIDDEN", on="ben", who="sam"),
    bad_op("damage by an agent", "hp.change", {"delta": -5}, "FORBIDDEN", on="ben", who="ai"),
    bad_op("damage to a character of the GM", "hp.change", {"delta": -5}, "FORBIDDEN", on="npc"),
    bad_op("a gift to oneself", "xp.award", {"amount": 1_000}, "FORBIDDEN", on="ben", who="ben"),
    bad_op("experience by the sheet", "sheet.set", {"path": "xp", "value": 1_000}, "FORBIDDEN", on="ben", who="ben"),
    bad_op("somebody else's sheet", "sheet.set", {"path": "name", "value": "Eve"}, "FORBIDDEN", on="ben"),
)

OP_ROWS: Final = (*ADDRESSES, *OPS, *ROLLS, *FORBIDDEN)
