"""`python -m trainer_loop`: run this loop once."""

import sys

from shared.running.command import run_command
from trainer_loop.command import command

if __name__ == "__main__":
    sys.exit(run_command(command, "python -m trainer_loop"))
