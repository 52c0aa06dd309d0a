# Reads the environment of the check's process, and what its own process was started with.
from pathlib import Path


def act(arena):
    checker = "1"
    try:
        checker = (arena / "checker").read_text()
    except OSError:
        pass
    for number in ("self", checker):
        try:
            text = Path(f"/proc/{number}/environ").read_bytes()
        except OSError:
            continue
        if b"SAMELOOP_ARENA_SECRET" in text:
            print("SECRET-4711 was in the environment of", number)
