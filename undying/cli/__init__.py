"""The command line, and the one place that wires all layers together."""
