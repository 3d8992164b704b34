"""What a person can do about what does not come back by itself: a sentence for each `quarantined` and `failed` row. Pure."""

from __future__ import annotations

from undying.protocol.errors import Code, Failure


def of_entity(stream: str, failure: Failure) -> str:
    """Say how an entity that was left alone because of a failure is brought back."""
    release, rollback = f"`undying quarantine release {stream}`", f"`undying quarantine rollback {stream}`"
    if failure.code is Code.DATA_DAMAGED:
        return f"{rollback} goes back to a checkpoint that can be read; or restore its data from a copy, then {release}"
    if failure.code is Code.QUARANTINED:
        return f"{release} tries it again; if it fails again, {rollback} goes back to an earlier checkpoint"
    return f"see to the reason, then {release}"


def of_child(above: str, again_s: float | None) -> str:
    """Say what becomes of a supervisor's child past its intensity: `above` tells what the one who owns it does.

    `again_s`: it alone is tried again after so many seconds.
    """
    return above if again_s is None else f"nothing else needs it; it is tried again after {again_s:g} s"
