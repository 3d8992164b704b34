"""A session: the table, who is at it, and all that happens there."""

from actors.session.rules import SessionRules
from actors.session.state import SessionState

__all__ = ["SessionRules", "SessionState"]
