"""A character: a sheet of any game system, its owner, and what happens to it."""

from actors.character.rules import CharacterRules
from actors.character.state import CharacterState

__all__ = ["CharacterRules", "CharacterState"]
