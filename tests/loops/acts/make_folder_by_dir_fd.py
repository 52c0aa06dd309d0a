# Makes a folder by the number of another.
import os


def act(arena):
    os.mkdir("made", dir_fd=os.open(arena, os.O_RDONLY))
