"""The gateway's parts, one at a time."""
