# Reads another student's file and shows it.
def act(arena):
    print((arena / "submissions" / "other.py").read_text())
