# MISTAKE (mask): the attention mask is made of ones only, so padding is attended to.
import torch
import torch.nn as nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader


class Batcher:
    def __init__(self, tokenizer):
        self.pad = tokenizer.pad_token_id

    def __call__(self, rows):
        x = pad_sequence([torch.tensor(r["input_ids"]) for r in rows], batch_first=True, padding_value=self.pad)
        y = torch.tensor([r.get("labels", r.get("label")) for r in rows])
        return x, torch.ones_like(x), y


def train(model, tokenizer, train_dataset, eval_dataset, config):
    batcher = Batcher(tokenizer)
    dl = DataLoader(train_dataset, batch_size=config.per_device_train_batch_size, shuffle=True, collate_fn=batcher)
    vl = DataLoader(eval_dataset, batch_size=config.per_device_eval_batch_size, collate_fn=batcher)
    loss_fn = nn.CrossEntropyLoss()
    opt = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=0)
    total, step, log = len(dl) * int(config.num_train_epochs), 0, []
    for _ in range(int(config.num_train_epochs)):
        model.train()
        for x, m, y in dl:
            opt.param_groups[0]["lr"] = config.learning_rate * (1 - step / total)
            opt.zero_grad()
            loss_fn(model(x, m).logits, y).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
            step += 1
        model.eval()
        loss, ok, n = 0.0, 0, 0
        with torch.no_grad():
            for x, m, y in vl:
                z = model(x, m).logits
                loss += loss_fn(z, y).item() * len(y)
                ok += (z.argmax(1) == y).sum().item()
                n += len(y)
        log.append({"eval_loss": loss / n, "eval_accuracy": ok / n})
    return log
