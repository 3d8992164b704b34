"""A provider: something outside that answers questions, or the oracle in its place."""

from actors.provider.rules import ProviderRules, ProviderState

__all__ = ["ProviderRules", "ProviderState"]
