# HOSTILE (harmless): there is no train here, only something of another name and a train that is no function.
train = "see train_model"


def train_model(model, tokenizer, train_dataset, eval_dataset, config):
    return [{"eval_loss": 0.5, "eval_accuracy": 0.8}] * int(config.num_train_epochs)
