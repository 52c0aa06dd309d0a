# Moves a file into its own folder, and away with it.
import os


def act(arena):
    os.rename(arena / "grades.csv", "grades.csv")
