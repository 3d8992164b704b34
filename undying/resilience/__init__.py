"""Ways to go on after a failure: pure, with the clock injected."""
