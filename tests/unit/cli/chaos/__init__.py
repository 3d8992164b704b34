"""`undying chaos`: its plan, its orders, its tables."""
