"""The gateway's edges over real loopback sockets."""
