"""The SDK: play at a table from Python."""
