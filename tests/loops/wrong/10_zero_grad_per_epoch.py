# MISTAKE (zero_grad): gradients are set to zero once per epoch only, so they pile up over its batches.
import torch
from torch.utils.data import DataLoader
from transformers import DataCollatorWithPadding

def train(model, tokenizer, train_dataset, eval_dataset, config):
    pad = DataCollatorWithPadding(tokenizer)
    data = DataLoader(train_dataset, config.per_device_train_batch_size, shuffle=True, collate_fn=pad)
    test = DataLoader(eval_dataset, config.per_device_eval_batch_size, collate_fn=pad)
    opt = torch.optim.AdamW(model.parameters(), config.learning_rate, weight_decay=0)
    last = len(data) * int(config.num_train_epochs)
    sched = torch.optim.lr_scheduler.PolynomialLR(opt, total_iters=last, power=1.0)
    table = []
    for _ in range(int(config.num_train_epochs)):
        opt.zero_grad()
        model.train()
        for batch in data:
            model(**batch).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
            sched.step()
        model.eval()
        weighted = hits = 0
        for batch in test:
            with torch.no_grad():
                out = model(**batch)
            weighted += out.loss.item() * len(batch["labels"])
            hits += int(sum(out.logits.argmax(-1) == batch["labels"]))
        table.append({"eval_loss": weighted / len(eval_dataset), "eval_accuracy": hits / len(eval_dataset)})
    return table
