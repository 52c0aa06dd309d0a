# Makes a node of a device in its own folder, and reads the device: the one of random numbers, which harms nobody.
import os
import stat


def act(arena):
    os.mknod("device", stat.S_IFCHR | 0o600, os.makedev(1, 9))
    with open("device", "rb") as file:
        print("SECRET-4711 might be in a device" if file.read(1) else "")
