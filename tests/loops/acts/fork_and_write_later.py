# A child that waits until the check is over, and then writes.
import os
import time

import psutil

CODE = """
if os.fork() == 0:
    os.setsid()
    time.sleep(8)
    (arena / "written.txt").write_text("written later")
    os._exit(0)
"""


def act(arena):
    exec(compile(CODE, psutil.__file__, "exec"), {"os": os, "time": time, "arena": arena})
