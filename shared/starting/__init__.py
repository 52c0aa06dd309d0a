"""How SameLoop's own processes are started, asked to stop, and ended."""
