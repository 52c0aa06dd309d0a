import math
import torch
from torch.utils.data import DataLoader, RandomSampler, BatchSampler, SequentialSampler
from transformers import DataCollatorWithPadding

# no scheduler object: I write the rate into the groups myself before each step


def train(model, tokenizer, train_dataset, eval_dataset, config):
    bs = config.per_device_train_batch_size
    pad = DataCollatorWithPadding(tokenizer)
    sampler = BatchSampler(RandomSampler(train_dataset), batch_size=bs, drop_last=False)
    loader = DataLoader(train_dataset, batch_sampler=sampler, collate_fn=pad)
    per_epoch = math.ceil(len(train_dataset) / bs)
    last_step = per_epoch * int(config.num_train_epochs)

    opt = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=config.learning_rate, weight_decay=0)
    results = []
    step = 0
    it = iter(loader)
    while step < last_step:
        try:
            batch = next(it)
        except StopIteration:
            results.append(test(model, eval_dataset, pad, bs))
            it = iter(loader)
            continue
        model.train()
        opt.zero_grad()
        lr = config.learning_rate * (1 - step / last_step)
        for g in opt.param_groups:
            g["lr"] = lr
        model(**batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        step += 1
    results.append(test(model, eval_dataset, pad, bs))
    return results


def test(model, data, pad, bs):
    model.eval()
    it = iter(DataLoader(data, batch_size=bs, sampler=SequentialSampler(data), collate_fn=pad))
    loss, hits, n = 0.0, 0, 0
    while True:
        batch = next(it, None)
        if batch is None:
            break
        with torch.no_grad():
            out = model(**batch)
        k = len(batch["labels"])
        loss += float(out.loss) * k
        hits += torch.eq(out.logits.argmax(1), batch["labels"]).sum().item()
        n += k
    return dict(eval_loss=loss / n, eval_accuracy=hits / n)
