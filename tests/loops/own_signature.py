"""The page's own signature; zero_grad first, groups by name, a helper's schedule, all in one function."""

import numpy as np
import torch
from torch.utils.data import DataLoader, RandomSampler
from transformers import DataCollatorWithPadding, get_linear_schedule_with_warmup, set_seed

from shared.data import load_data
from shared.model import load_model, load_tokenizer


def train(config, output_dir, checkpoint=None):
    torch.manual_seed(config.seed)
    tokenizer = load_tokenizer(config)
    train_set, eval_set, classes = load_data(config, tokenizer)
    model = load_model(config, classes)
    generator = torch.Generator()
    pad = DataCollatorWithPadding(tokenizer)
    loader = DataLoader(train_set, 8, sampler=RandomSampler(train_set, generator=generator), collate_fn=pad)
    eval_loader = DataLoader(eval_set, 8, collate_fn=pad)
    plain = [p for name, p in model.named_parameters() if "bias" in name or "norm" in name.lower()]
    decayed = [p for name, p in model.named_parameters() if not ("bias" in name or "norm" in name.lower())]
    groups = [{"params": decayed, "weight_decay": 0.0}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)
    epochs = int(config.num_train_epochs)
    scheduler = get_linear_schedule_with_warmup(optimizer, 0, len(loader) * epochs)
    set_seed(config.seed)
    history = []
    for epoch in range(epochs):
        generator.manual_seed(config.seed + epoch)
        model.train()
        for batch in loader:
            optimizer.zero_grad()
            model(**batch).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
            optimizer.step()
            scheduler.step()
        model.eval()
        right, losses = 0, []
        with torch.no_grad():
            for batch in eval_loader:
                output = model(**batch)
                losses += [output.loss.item()] * len(batch["labels"])
                right += (output.logits.argmax(-1) == batch["labels"]).sum().item()
        loss = np.array(losses, dtype=np.float32).mean().item()
        history.append({"eval_loss": loss, "eval_accuracy": right / len(eval_set), "epoch": epoch + 1})
    model.save_pretrained(output_dir)
    return history
