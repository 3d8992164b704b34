"""Measurements of the real server: run as modules from the root of the repository, see README.md."""
