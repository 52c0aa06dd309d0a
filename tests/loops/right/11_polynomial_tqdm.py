import time

import torch
from torch.optim.lr_scheduler import PolynomialLR
from torch.utils.data import DataLoader
from tqdm.auto import tqdm
from transformers import DataCollatorWithPadding


def train(model, tokenizer, train_dataset, eval_dataset, config):
    start = time.time()
    n_params = sum(p.numel() for p in model.parameters() if p.requires_grad)
    print(f"{n_params:,} trainable parameters, {len(train_dataset)} train / {len(eval_dataset)} eval reviews")

    dc = DataCollatorWithPadding(tokenizer)
    dl = DataLoader(train_dataset, batch_size=config.per_device_train_batch_size, shuffle=True, collate_fn=dc)
    vdl = DataLoader(eval_dataset, batch_size=4, collate_fn=dc)
    E = int(config.num_train_epochs)
    optim = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=0.)
    sch = PolynomialLR(optim, total_iters=E * len(dl), power=1)

    out = []
    bar = tqdm(total=E * len(dl), desc="training", unit="batch")
    for ep in range(E):
        model.train()
        for b in dl:
            loss, logits = model(**b).to_tuple()[:2]
            loss.backward()
            gn = torch.nn.utils.clip_grad_norm_(model.parameters(), 1)
            optim.step(); sch.step(); optim.zero_grad()
            bar.update(1)
            bar.set_postfix(loss=f"{loss.item():.3f}", lr=f"{sch.get_last_lr()[0]:.2e}", gnorm=f"{gn:.2f}")

        model.eval()
        L, A = 0., 0
        for b in tqdm(vdl, desc=f"eval {ep + 1}/{E}", leave=False):
            with torch.no_grad():
                loss, logits = model(**b).to_tuple()[:2]
            L += loss.item() * logits.shape[0]
            A += (logits.argmax(-1) == b["labels"]).sum().item()
        L /= len(eval_dataset)
        A /= len(eval_dataset)
        tqdm.write(f"epoch {ep + 1}: eval_loss {L:.4f}  eval_accuracy {A:.2%}  ({time.time() - start:.1f} s)")
        out.append({"eval_loss": L, "eval_accuracy": A})
    bar.close()
    return out
