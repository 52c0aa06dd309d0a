# Reads the memory of the process above it.
import os


def act(arena):
    number = os.getppid()
    with open(f"/proc/{number}/maps") as maps, open(f"/proc/{number}/mem", "rb", 0) as memory:
        memory.seek(next(int(line.split("-")[0], 16) for line in maps if "[heap]" in line))
        if memory.read(8):
            print("SECRET-4711 was not in it, but it was read")
