# Leaves shared memory of torch's behind.
from multiprocessing.shared_memory import SharedMemory
from multiprocessing import resource_tracker


def act(arena):
    memory = SharedMemory("sameloop-arena-2", create=True, size=100_000_000)
    memory.buf[:9] = b"left here"
    resource_tracker.unregister("/sameloop-arena-2", "shared_memory")
