# Cuts a file off.
import os


def act(arena):
    os.truncate(arena / "grades.csv", 0)
