"""Journals and checkpoints: what is left when a process is not."""
