"""Where clients connect: sockets in, batches to hosts, events out."""
