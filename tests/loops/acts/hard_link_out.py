# Links a file of its own to a name outside.
import os


def act(arena):
    with open("own.txt", "w") as file:
        file.write("own\n")
    os.link("own.txt", arena / "linked.txt")
