# Sends a word to another process of this machine.
import socket


def act(arena):
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"hello", ("127.0.0.1", PORT))
