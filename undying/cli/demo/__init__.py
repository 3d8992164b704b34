"""`undying demo`: a table that is played while its processes are killed, and a verdict from what its clients saw."""
