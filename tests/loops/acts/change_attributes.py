# Leaves a word in a file's attributes.
import os


def act(arena):
    os.setxattr(arena / "grades.csv", "user.note", b"hello")
