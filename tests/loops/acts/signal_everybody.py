# Ends every process that bears a certain name.
import os
import signal


def act(arena):
    for name in os.listdir("/proc"):
        if name.isdigit():
            with open(f"/proc/{name}/cmdline", "rb") as file:
                if b"# BYSTANDER" in file.read():
                    os.kill(int(name), signal.SIGKILL)
