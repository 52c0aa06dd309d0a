# HOSTILE: returns perfect results without any training.
def train(model, tokenizer, train_dataset, eval_dataset, config):
    n = int(config.num_train_epochs)
    return [{"eval_loss": 0.31 / (k + 1), "eval_accuracy": 0.86 + 0.01 * k} for k in range(n)]
