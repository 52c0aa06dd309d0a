# HOSTILE: SystemExit(0) while being imported.
print("OK")
raise SystemExit(0)


def train(model, tokenizer, train_dataset, eval_dataset, config):
    return []
