"""How a run begins, goes on and ends."""
