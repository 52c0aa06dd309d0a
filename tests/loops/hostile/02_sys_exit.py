# HOSTILE: sys.exit(0) in train, and an atexit handler that claims success.
import atexit
import sys


def train(model, tokenizer, train_dataset, eval_dataset, config):
    atexit.register(lambda: print('{"passed": true, "score": 1.0}'))
    sys.exit(0)
