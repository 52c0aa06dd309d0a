# Opens a file for writing by the number of its folder.
import os


def act(arena):
    folder = os.open(arena, os.O_RDONLY)
    os.write(os.open("written.txt", os.O_WRONLY | os.O_CREAT, dir_fd=folder), b"written\n")
