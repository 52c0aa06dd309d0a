# Makes a named pipe outside.
import os


def act(arena):
    os.mkfifo(arena / "pipe")
