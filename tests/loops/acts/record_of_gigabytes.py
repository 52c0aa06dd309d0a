# Writes a record of three gigabytes, most of them a hole, to the file of the recording.
import os


def act(arena):
    for number in range(3, 30):
        try:
            if "recording" in os.readlink(f"/proc/self/fd/{number}"):
                os.write(number, (60).to_bytes(8, "little") + (3_000_000_000).to_bytes(8, "little"))
                head = b'{"kind": "weights"}'
                os.write(number, head + b" " * (60 - len(head)))
                os.ftruncate(number, os.fstat(number).st_size + 3_000_000_000)
        except OSError:
            pass
