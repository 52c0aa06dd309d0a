# Removes a file by the number of its folder.
import os


def act(arena):
    os.unlink("grades.csv", dir_fd=os.open(arena, os.O_RDONLY))
