# Opens a folder outside by its name below /proc.
import os


def act(arena):
    with open(f"/proc/self/root{arena}/written.txt", "w") as file:
        file.write("written\n")
