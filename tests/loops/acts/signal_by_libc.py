# Ends another process by the C library.
import ctypes


def act(arena):
    ctypes.CDLL(None).kill(int((arena / "bystander").read_text()), 9)
