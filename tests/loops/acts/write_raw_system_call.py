# Asks the kernel itself to open a file.
import ctypes


def act(arena):
    number = ctypes.CDLL(None).syscall(257, -100, str(arena / "written.txt").encode(), 0o101, 0o644)
    assert number >= 0
