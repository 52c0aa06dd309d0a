# Leaves a symbolic link outside.
import os


def act(arena):
    os.symlink("/etc/passwd", arena / "linked")
