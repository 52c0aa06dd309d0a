# Makes the check's process the last to be served.
import os


def act(arena):
    os.setpriority(os.PRIO_PROCESS, CHECKER, 19)
