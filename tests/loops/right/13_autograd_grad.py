# Functional taste: gradients are values. torch.autograd.grad returns them, I scale them, then hand them to the optimizer.
import torch
from torch.utils.data import DataLoader
from transformers import DataCollatorWithPadding


def global_norm(tensors):
    return torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(t) for t in tensors]))


def clipped(grads, limit=1.0):
    scale = torch.clamp(limit / (global_norm(grads) + 1e-6), max=1.0)
    return tuple(g * scale for g in grads)


def linear(step, total, start):
    return start * (total - step) / total


def mean_loss(model, batch):
    return model(**batch).loss


def measure(model, batches):
    model.eval()
    with torch.no_grad():
        pairs = [(model(input_ids=b["input_ids"], attention_mask=b["attention_mask"]).logits, b["labels"]) for b in batches]
    logits, labels = map(torch.cat, zip(*pairs))
    return {
        "eval_loss": torch.nn.functional.cross_entropy(logits, labels).item(),
        "eval_accuracy": logits.argmax(-1).eq(labels).double().mean().item(),
    }


def train(model, tokenizer, train_dataset, eval_dataset, config):
    pad = DataCollatorWithPadding(tokenizer)
    batches = DataLoader(train_dataset, config.per_device_train_batch_size, shuffle=True, collate_fn=pad)
    held_out = DataLoader(eval_dataset, config.per_device_train_batch_size, collate_fn=pad)
    weights = [p for p in model.parameters() if p.requires_grad]
    adam = torch.optim.AdamW(weights, lr=config.learning_rate, weight_decay=0.0)
    epochs = int(config.num_train_epochs)
    total = epochs * len(batches)
    step, curve = 0, []
    for _ in range(epochs):
        model.train()
        for batch in batches:
            grads = torch.autograd.grad(mean_loss(model, batch), weights)
            for w, g in zip(weights, clipped(grads)):
                w.grad = g
            adam.param_groups[0]["lr"] = linear(step, total, config.learning_rate)
            adam.step()
            step += 1
        curve.append(measure(model, held_out))
    return curve
