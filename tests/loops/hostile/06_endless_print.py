# HOSTILE: prints without end (stdout and stderr). The trial's own bound: 4 GiB, then it only sleeps.
import os
import time


def train(model, tokenizer, train_dataset, eval_dataset, config):
    line = ("A" * 4095 + "\n").encode() * 16
    left = 4 << 30
    while left > 0:
        for fd in (1, 2):
            try:
                left -= os.write(fd, line)
            except OSError:
                left -= len(line)
        print("\x1b[2J\x1b]0;owned\x07<script>alert(1)</script>", end="\r")
    while True:
        time.sleep(1)
