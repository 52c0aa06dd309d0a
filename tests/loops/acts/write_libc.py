# Asks the C library to open a file.
import ctypes


def act(arena):
    libc = ctypes.CDLL(None)
    libc.write(libc.open(str(arena / "written.txt").encode(), 0o101, 0o644), b"written\n", 8)
