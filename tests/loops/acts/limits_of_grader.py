# Lowers the limits of the check's process.
import resource


def act(arena):
    resource.prlimit(CHECKER, resource.RLIMIT_NOFILE, (9, 9))
