# HOSTILE: never returns, and ignores the polite signals and bare exceptions.
import signal


def train(model, tokenizer, train_dataset, eval_dataset, config):
    for s in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM, signal.SIGHUP, signal.SIGXCPU):
        try:
            signal.signal(s, signal.SIG_IGN)
        except (ValueError, OSError):
            pass
    while True:
        try:
            while True:
                pass
        except BaseException:
            pass
