"""What may stand at a path of a sheet: `level`, `abilities.str`, `inventory.0.qty`, `attributes.speed.walk`.

That depends on the path and the value alone. Whether a certain sheet has that place, and room for the value, is for the rules
to say.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import ValidationError

from undying.protocol.data import Json
from undying.protocol.errors import Code, Failure
from undying.protocol.ops import bad_args, bad_field
from undying.protocol.paths import index_of, part_of
from undying.protocol.sheet import SheetData, check_sheet

STEPS_MAX: Final = 8
_MEMBERS: Final[dict[str, dict[str, Any]]] = {"inventory": {"name": "x"}, "conditions": {"name": "x"}, "notes": {"text": "x"}}
"""Parts that are lists, with what a member of each must have."""

FREE_PARTS: Final = {"attributes": 1, "inventory": 2}
"""Parts that hold keys of any name, with the number of steps to what holds them: that is bounded as a whole."""


def check_part(path: str, value: Json) -> tuple[list[str], Any] | Failure:
    """Return the steps of a path and the value as a sheet's model completes it, or BAD_ARGS for `path` or `value`.

    Checks a sheet that has no more than this value; so the cost is that of the value, whatever the sheet.
    """
    steps = path.split(".")
    in_list = steps[0] in _MEMBERS and len(steps) > 1
    if len(steps) > STEPS_MAX or not all(steps) or (in_list and index_of(steps[1]) is None):
        return _no_such_part()
    part = value
    for step in reversed(steps[2:] if in_list else steps[1:]):
        part = {step: part}
    if in_list:
        part = [{**_MEMBERS[steps[0]], **part} if len(steps) > 2 and isinstance(part, dict) else part]
    try:
        sheet = check_sheet({"name": "x", steps[0]: part})
    except ValidationError as problem:
        return _blame(problem, steps)
    try:
        return steps, part_of(sheet, [steps[0], "0", *steps[2:]] if in_list else steps)
    except KeyError:  # the model ignored it
        return _no_such_part()


def overflow(sheet: SheetData, steps: list[str]) -> Failure | None:
    """Return why keys of any name are too much together after one came to that path, None when they are not."""
    depth = FREE_PARTS.get(steps[0])
    if depth is None or len(steps) < depth:
        return None
    whole = ".".join(steps[:depth])
    checked = check_part(whole, part_of(sheet, steps[:depth]))
    if not isinstance(checked, Failure):
        return None
    return Failure(Code.LIMIT_EXCEEDED, f"All of {whole} {checked.context['reason']}.")


def _blame(problem: ValidationError, steps: list[str]) -> Failure:
    """Tell whether it was the path that led nowhere or the value that can't stand there."""
    first = problem.errors(include_url=False, include_context=False, include_input=False)[0]
    where = first["loc"]
    if len(where) < len(steps) and len(where) != FREE_PARTS.get(steps[0]):
        return _no_such_part()
    return bad_args(problem, "value", below=tuple(str(step) for step in where[: len(steps)]))


def _no_such_part() -> Failure:
    return bad_field("path", "there is no such part of a sheet")
