# HOSTILE: imports the project's own solution and calls it; the name is pieced together.
import importlib


def train(model, tokenizer, train_dataset, eval_dataset, config):
    module = importlib.import_module("_".join(["manual", "loop"]) + "." + "laminim"[::-1])
    return module.train(model, tokenizer, train_dataset, eval_dataset, config)
