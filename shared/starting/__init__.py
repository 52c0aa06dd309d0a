"""How processes of ours are started, told to stop, and ended."""
