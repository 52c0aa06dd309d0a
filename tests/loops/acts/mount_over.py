# Mounts a file system over the arena, in namespaces of its own.
import ctypes


def act(arena):
    libc = ctypes.CDLL(None)
    assert libc.unshare(0x10020000) == 0
    assert libc.mount(b"tmpfs", str(arena).encode(), b"tmpfs", 0, None) == 0
    print("SECRET-4711, for it has mounted")
