"""`undying serve` over a real store and a real Ray, with a small program in the root's place."""
