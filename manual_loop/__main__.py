"""`python -m manual_loop`: run this loop once."""

import sys

from manual_loop.command import command
from shared.running.command import run_command

if __name__ == "__main__":
    sys.exit(run_command(command, "python -m manual_loop"))
