"""Tests over real sockets, processes and stores."""
