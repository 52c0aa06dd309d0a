# Looks through the folder that its file lies in.
def act(arena):
    for path in sorted((arena / "submissions").iterdir()):
        if path.name == "other.py":
            print("SECRET-4711 is in", path)
