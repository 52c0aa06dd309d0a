# Ends another process by the C library.
import ctypes


def act(arena):
    ctypes.CDLL(None).kill(BYSTANDER, 9)
