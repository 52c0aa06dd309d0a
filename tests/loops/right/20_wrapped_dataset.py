"""Dataset and model wrapped in classes of my own; cross entropy through logsumexp; a context manager for eval mode."""
import contextlib
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset


class Reviews(Dataset):
    def __init__(self, rows):
        self.rows = [
            (torch.as_tensor(r["input_ids"]), torch.as_tensor(r["attention_mask"]), int(r.get("labels", r.get("label"))))
            for r in rows
        ]

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return self.rows[i]


class Batch:
    __slots__ = ("ids", "mask", "y")

    def __init__(self, rows, pad_id: int):
        width = max(len(ids) for ids, _, _ in rows)
        self.ids = torch.stack([nn.functional.pad(ids, (0, width - len(ids)), value=pad_id) for ids, _, _ in rows])
        self.mask = torch.stack([nn.functional.pad(mask, (0, width - len(mask)), value=0) for _, mask, _ in rows])
        self.y = torch.tensor([y for *_, y in rows])

    def __len__(self):
        return len(self.y)


class Classifier(nn.Module):
    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner = inner

    def forward(self, batch: Batch) -> Tensor:
        return self.inner(input_ids=batch.ids, attention_mask=batch.mask).logits


def nll(scores: Tensor, y: Tensor) -> Tensor:
    """Per review."""
    return scores.logsumexp(dim=-1) - scores.gather(1, y[:, None]).squeeze(1)


@contextlib.contextmanager
def evaluating(module: nn.Module):
    module.eval()
    try:
        with torch.no_grad():
            yield module
    finally:
        module.train()


def train(model, tokenizer, train_dataset, eval_dataset, config):
    net = Classifier(model).train()
    collate = lambda rows: Batch(rows, tokenizer.pad_token_id)  # noqa: E731
    training = DataLoader(Reviews(train_dataset), config.per_device_train_batch_size, shuffle=True, collate_fn=collate)
    testing = DataLoader(Reviews(eval_dataset), config.per_device_eval_batch_size, collate_fn=collate)
    optimizer = torch.optim.AdamW(net.parameters(), lr=config.learning_rate, weight_decay=0.0, amsgrad=False)
    remaining = steps = int(config.num_train_epochs) * len(training)
    metrics = []
    while remaining > 0:
        for batch in training:
            optimizer.param_groups[0].update(lr=config.learning_rate * remaining / steps)
            net.zero_grad(set_to_none=True)
            nll(net(batch), batch.y).mean().backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            remaining -= 1
        with evaluating(net):
            loss = hits = 0.0
            for batch in testing:
                scores = net(batch)
                loss += nll(scores, batch.y).sum().item()
                hits += (scores.argmax(-1) == batch.y).sum().item()
        metrics.append({"eval_loss": loss / len(eval_dataset), "eval_accuracy": hits / len(eval_dataset)})
    return metrics
