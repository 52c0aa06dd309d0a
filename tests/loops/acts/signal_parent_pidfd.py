# Ends the process above it by a file number of it.
import os
import signal


def act(arena):
    signal.pidfd_send_signal(os.pidfd_open(os.getppid()), signal.SIGKILL)
