"""What plays, watches and judges."""
