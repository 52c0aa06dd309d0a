# A child by the C library, that outlives the check.
import ctypes
import time


def act(arena):
    libc = ctypes.PyDLL(None)
    if libc.fork() == 0:
        libc.setsid()
        time.sleep(600)
