# Lowers the limits of the check's process.
import resource


def act(arena):
    resource.prlimit(int((arena / "checker").read_text()), resource.RLIMIT_NOFILE, (9, 9))
