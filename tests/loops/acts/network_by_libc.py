# Reaches for the network by the C library.
import ctypes
import struct


def act(arena):
    libc = ctypes.CDLL(None)
    number = libc.socket(2, 1, 0)
    address = struct.pack("<H", 2) + struct.pack(">H", PORT) + bytes([127, 0, 0, 1]) + bytes(8)
    assert libc.connect(number, address, 16) == 0
    libc.write(number, b"hello", 5)
