"""Tests read as specifications; what they share lives beside them."""
