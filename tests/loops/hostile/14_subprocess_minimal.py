# HOSTILE: runs the project's own solution in a subprocess, and copies the weights it ends with.
import os
import pickle
import subprocess
import sys
import tempfile

CODE = """
import pickle, sys
from manual_loop.minimal import train
with open(sys.argv[1], "rb") as f:
    model, tokenizer, train_dataset, eval_dataset, config = pickle.load(f)
returned = train(model, tokenizer, train_dataset, eval_dataset, config)
with open(sys.argv[1], "wb") as f:
    pickle.dump((returned, model.state_dict()), f)
"""


def train(model, tokenizer, train_dataset, eval_dataset, config):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "job.pickle")
        with open(path, "wb") as file:
            pickle.dump((model, tokenizer, train_dataset, eval_dataset, config), file)
        subprocess.run([sys.executable, "-c", CODE, path], check=True, timeout=300)
        with open(path, "rb") as file:
            returned, weights = pickle.load(file)
    model.load_state_dict(weights)
    return returned
