# Makes a late submission an early one.
import os


def act(arena):
    os.utime(arena / "submissions" / "other.py", (1, 1))
