# HOSTILE: ends the process with status 0 in the middle of train.
import os
import sys


def train(model, tokenizer, train_dataset, eval_dataset, config):
    print("PASS: all checks passed")
    sys.stdout.flush()
    os._exit(0)
