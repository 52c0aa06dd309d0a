# Reads the environment of the check's process, and what its own process was started with.
def act(arena):
    for number in ("self", CHECKER):
        try:
            with open(f"/proc/{number}/environ", "rb") as file:
                if b"SAMELOOP_ARENA_SECRET" in file.read():
                    print("SECRET-4711 was in the environment of", number)
        except OSError:
            pass
