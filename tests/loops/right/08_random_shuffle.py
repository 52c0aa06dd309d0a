#!/usr/bin/env python3
# -*- coding: utf-8 -*-
# pure python lists as far as possible
import random

import torch
import torch.nn.functional as F


def chunks(items, k):
    return [items[i:i + k] for i in range(0, len(items), k)]


def pad_rows(rows, pad):
    width = max(map(len, rows))
    ids = [list(r) + [pad] * (width - len(r)) for r in rows]
    mask = [[1] * len(r) + [0] * (width - len(r)) for r in rows]
    return torch.tensor(ids), torch.tensor(mask)


def train(model, tokenizer, train_dataset, eval_dataset, config):
    key = "labels" if "labels" in train_dataset[0] else "label"
    data = [(d["input_ids"], d[key]) for d in train_dataset]
    test = [(d["input_ids"], d[key]) for d in eval_dataset]
    pad = tokenizer.pad_token_id
    epochs, size, lr0 = int(config.num_train_epochs), config.per_device_train_batch_size, config.learning_rate
    n_batches = len(chunks(data, size))
    opt = torch.optim.AdamW(model.parameters(), lr=lr0, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, foreach=False)
    done = 0
    report = []
    for _ in range(epochs):
        random.shuffle(data)
        model.train()
        for chunk in chunks(data, size):
            ids, mask = pad_rows([x for x, _ in chunk], pad)
            target = torch.tensor([y for _, y in chunk])
            logp = F.log_softmax(model(input_ids=ids, attention_mask=mask).logits, dim=-1)
            loss = F.nll_loss(logp, target)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for group in opt.param_groups:
                group["lr"] = lr0 * (epochs * n_batches - done) / (epochs * n_batches)
            opt.step()
            opt.zero_grad()
            done += 1
        model.eval()
        total, right = 0.0, 0
        for chunk in chunks(test, 10):
            ids, mask = pad_rows([x for x, _ in chunk], pad)
            target = torch.tensor([y for _, y in chunk])
            with torch.no_grad():
                logp = F.log_softmax(model(input_ids=ids, attention_mask=mask).logits, dim=-1)
            total += F.nll_loss(logp, target, reduction="sum").item()
            right += sum(int(a == b) for a, b in zip(logp.argmax(1).tolist(), target.tolist()))
        report.append({"eval_loss": total / len(test), "eval_accuracy": right / len(test)})
    return report
