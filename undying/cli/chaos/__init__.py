"""`undying chaos`: every part of a server breaks in every way, and what its clients felt."""
