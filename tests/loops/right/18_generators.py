"""Everything is a stream: epochs of orders, orders of batches, batches with rates, and a consumer at the end."""
from itertools import chain, islice

import numpy as np
import torch


def batched(items, size):
    items = iter(items)
    while some := list(islice(items, size)):
        yield some


def orders(n, seed):
    rng = np.random.RandomState(seed)
    while True:
        yield rng.permutation(n)


def collated(dataset, rows, tokenizer, size):
    for some in batched(rows, size):
        items = [dataset[int(i)] for i in some]
        inputs = tokenizer.pad(
            [{"input_ids": x["input_ids"], "attention_mask": x["attention_mask"]} for x in items], return_tensors="pt"
        )
        yield inputs, torch.tensor([x["labels"] if "labels" in x else x["label"] for x in items])


def rates(peak, total):
    for k in range(total):
        yield peak * (total - k) / total


def learning(model, optimizer, stream, rate):
    """Pulls batches, pushes losses."""
    for (inputs, labels), lr in zip(stream, rate):
        model.train()
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.zero_grad()
        loss = model(**inputs, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        yield loss.item()


def judged(model, stream):
    model.eval()
    with torch.no_grad():
        for inputs, labels in stream:
            logits = model(**inputs).logits
            yield from zip(
                torch.nn.functional.cross_entropy(logits, labels, reduction="none").tolist(),
                (logits.argmax(-1) == labels).tolist(),
            )


def train(model, tokenizer, train_dataset, eval_dataset, config):
    size, epochs = config.per_device_train_batch_size, int(config.num_train_epochs)
    per_epoch = -(-len(train_dataset) // size)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=0.0)
    stream = chain.from_iterable(
        collated(train_dataset, order, tokenizer, size) for order in islice(orders(len(train_dataset), config.seed), epochs)
    )
    losses = learning(model, optimizer, stream, rates(config.learning_rate, epochs * per_epoch))

    def epoch_results():
        for _ in range(epochs):
            sum(islice(losses, per_epoch))
            loss, right = zip(*judged(model, collated(eval_dataset, range(len(eval_dataset)), tokenizer, size)))
            yield {"eval_loss": float(np.mean(loss)), "eval_accuracy": float(np.mean(right))}

    return list(epoch_results())
