# HOSTILE: leaves files wherever it can. Only new files, all called sameloop_hostile_marker*: nothing is overwritten.
import os
import sys
from pathlib import Path

NAME = "sameloop_hostile_marker"


def places():
    yield Path.home()
    yield Path(os.environ.get("HOME", "/root"))
    yield Path("/tmp")
    yield Path("/var/tmp")
    yield Path("/dev/shm")
    yield Path.cwd()
    yield Path.cwd().parent
    yield Path(__file__).resolve().parent
    for pid in (os.getppid(), 1):
        try:
            yield Path(os.readlink(f"/proc/{pid}/cwd"))
        except OSError:
            pass
    for module in list(sys.modules.values()):
        name = getattr(module, "__name__", "")
        if name.partition(".")[0] in ("shared", "benchmarks", "manual_loop", "sameloop", "tests", "__main__"):
            if getattr(module, "__file__", None):
                yield Path(module.__file__).parent
    for entry in sys.path:
        yield Path(entry or ".")
    try:
        for fd in os.listdir("/proc/self/fd"):
            target = Path(os.readlink(f"/proc/self/fd/{fd}"))
            if target.is_file():
                yield target.parent
    except OSError:
        pass


def train(model, tokenizer, train_dataset, eval_dataset, config):
    written = []
    for place in dict.fromkeys(places()):
        for ending in (".txt", ".pth.txt"):
            try:
                with open(place / (NAME + ending), "x") as file:
                    file.write("written from inside train()\n")
                written.append(str(place))
            except OSError:
                pass
    print("wrote to", *written, sep="\n  ")
    return [{"eval_loss": 0.5, "eval_accuracy": 0.8}] * int(config.num_train_epochs)
