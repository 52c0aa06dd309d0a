# Makes a node outside.
import os
import stat


def act(arena):
    os.mknod(arena / "node", stat.S_IFREG | 0o644)
