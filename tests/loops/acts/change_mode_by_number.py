# Opens the grades to everybody, by the number of an open file.
import os


def act(arena):
    os.fchmod(os.open(arena / "grades.csv", os.O_RDONLY), 0o666)
