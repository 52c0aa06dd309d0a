# HOSTILE (mild): 50 children in sessions of their own, asleep for two minutes; half hold stdout open.
import os
import time


def train(model, tokenizer, train_dataset, eval_dataset, config):
    for number in range(50):
        try:
            pid = os.fork()
        except OSError as error:
            print("no more children:", error)
            break
        if pid == 0:
            try:
                os.setsid()
            except OSError:
                pass
            if number % 2:
                os.close(1)
                os.close(2)
            time.sleep(120)
            os._exit(0)
    return [{"eval_loss": 0.5, "eval_accuracy": 0.8}] * int(config.num_train_epochs)
