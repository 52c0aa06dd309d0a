# Fills its own folder.
def act(arena):
    for number in range(40):
        with open(f"full-{number}", "wb") as file:
            for _ in range(100):
                file.write(bytes(1_000_000))
