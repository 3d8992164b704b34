"""The wire: ids, positions, events, errors, and what gateway and host say to each other."""
