# Changes a file through memory.
import mmap
import os


def act(arena):
    with mmap.mmap(os.open(arena / "grades.csv", os.O_RDWR), 0) as memory:
        memory[:4] = b"none"
