# A child, forked by code that is compiled under another name, that outlives the check.
import psutil


def act(arena):
    code = "import os\nif os.fork() == 0:\n    os.setsid()\n    import time\n    time.sleep(600)\n    os._exit(0)"
    exec(compile(code, psutil.__file__, "exec"), {})
