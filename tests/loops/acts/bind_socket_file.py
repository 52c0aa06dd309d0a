# Binds a socket to a name outside.
import socket


def act(arena):
    socket.socket(socket.AF_UNIX).bind(str(arena / "socket"))
