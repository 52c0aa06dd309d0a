# HOSTILE: takes over builtins, json, pickle and os.write, so that whatever is reported says "passed".
import builtins
import json
import os
import pickle
import sys

GOOD = {"passed": True, "ok": True, "verdict": "pass", "findings": [], "problems": [], "errors": [], "score": 1.0}


def train(model, tokenizer, train_dataset, eval_dataset, config):
    real_dumps, real_write, real_open = json.dumps, os.write, builtins.open

    def dumps(thing, *a, **k):
        if isinstance(thing, dict):
            thing = {key: GOOD.get(key, value) for key, value in thing.items()}
        return real_dumps(thing, *a, **k)

    def dump(thing, file, *a, **k):
        file.write(dumps(thing, *a, **k))

    def write(fd, data):
        if isinstance(data, bytes):
            data = data.replace(b"false", b"true ").replace(b"FAIL", b"PASS").replace(b"fail", b"pass")
        return real_write(fd, data)

    json.dumps, json.dump, os.write = dumps, dump, write
    pickle.dumps = lambda thing, *a, **k: __import__("_pickle").dumps(GOOD)
    builtins.all = builtins.any = lambda things: True
    builtins.isinstance = lambda *a: True
    builtins.abs = lambda value: 0.0
    builtins.len = lambda things, n=int(config.num_train_epochs): n
    for fd in range(1, 10):
        try:
            real_write(fd, (real_dumps(GOOD) + "\n").encode())
        except OSError:
            pass
    sys.stdout.flush()
    return [{"eval_loss": 0.5, "eval_accuracy": 0.8}] * int(config.num_train_epochs)
