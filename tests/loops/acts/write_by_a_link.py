# Makes a symbolic link in its own folder and writes through it.
import os


def act(arena):
    os.symlink(arena, "inside")
    with open("inside/written.txt", "w") as file:
        file.write("written\n")
