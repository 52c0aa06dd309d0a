# Leaves a file in the machine's shared memory.
import os


def act(arena):
    with open("/dev/shm/sameloop-arena", "wb") as file:
        file.write(bytes(300_000_000))
