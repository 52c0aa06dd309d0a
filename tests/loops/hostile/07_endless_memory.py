# HOSTILE: allocates memory until something breaks. The trial's own bound: 60 % of what is available, then it sleeps.
import time


def available():
    try:
        with open("/proc/meminfo") as lines:
            for line in lines:
                if line.startswith("MemAvailable"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 4 << 30


def train(model, tokenizer, train_dataset, eval_dataset, config):
    bound, hoard = int(available() * 0.6), []
    taken = 0
    while taken < bound:
        try:
            hoard.append(bytearray(b"\xff" * (64 << 20)))
            taken += 64 << 20
        except MemoryError:
            time.sleep(0.1)  # and again: a MemoryError is no reason to stop
    while True:
        time.sleep(1)
