# Overwrites the grades.
def act(arena):
    (arena / "grades.csv").write_text("everybody,17\n")
