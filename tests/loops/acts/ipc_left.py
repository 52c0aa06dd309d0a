# Leaves a segment of System V's shared memory behind.
import ctypes


def act(arena):
    libc = ctypes.CDLL(None)
    assert libc.shmget(0x4711, 1_000_000, 0o1666) >= 0
