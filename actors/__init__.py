"""What is alive: the rules of sessions, characters and providers, and the hosts they live in."""
