# Children without end.
import psutil

CODE = """
import os, time
for _ in range(100):
    try:
        if os.fork() == 0:
            os.setsid()
            time.sleep(600)
            os._exit(0)
    except OSError:
        break
"""


def act(arena):
    exec(compile(CODE, psutil.__file__, "exec"), {})
