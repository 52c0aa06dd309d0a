# A grandchild whose parent is gone, with nothing open, that outlives the check.
import psutil

CODE = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in range(3, 30):
            try:
                os.close(number)
            except OSError:
                pass
        null = os.open("/dev/null", os.O_RDWR)
        for number in range(3):
            os.dup2(null, number)
        time.sleep(600)
    os._exit(0)
"""


def act(arena):
    exec(compile(CODE, psutil.__file__, "exec"), {})
