"""Fine-tune DistilBERT by hand, and end with `Trainer`'s weights, bit for bit."""

import numpy as np
import torch
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, RandomSampler
from transformers import DataCollatorWithPadding, set_seed


def train(model, tokenizer, train_dataset, eval_dataset, config):
    set_seed(config.seed)  # dropout's random numbers start here
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device)
    generator = torch.Generator()  # only for the order; dropout uses the global one
    sampler = RandomSampler(train_dataset, generator=generator)
    collator = DataCollatorWithPadding(tokenizer)  # pads to the batch's longest review
    batch_size = config.per_device_train_batch_size
    loader = DataLoader(train_dataset, batch_size, sampler=sampler, collate_fn=collator)
    eval_batch_size = config.per_device_eval_batch_size
    eval_loader = DataLoader(eval_dataset, eval_batch_size, collate_fn=collator)
    lr = config.learning_rate
    optimizer = torch.optim.AdamW(model.parameters(), lr, weight_decay=0, fused=True)
    epochs = int(config.num_train_epochs)
    steps = epochs * len(loader)
    scheduler = LambdaLR(optimizer, lambda step: (steps - step) / steps)
    evaluations = []
    for epoch in range(epochs):
        generator.manual_seed(config.seed + epoch)  # as Trainer does for every epoch
        for batch in loader:  # ids and mask (batch, tokens), labels (batch,)
            model.train()  # dropout on: the evaluation switched it off
            loss = model(**batch.to(device)).loss  # the batch's mean, a scalar
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()  # lowers the learning rate linearly to 0
            optimizer.zero_grad()  # backward() adds to what is there
        model.eval()
        losses, correct = [], []
        for batch in eval_loader:
            with torch.no_grad():
                output = model(**batch.to(device))  # logits (batch, classes)
            losses += [output.loss.item()] * len(batch["labels"])  # one per review
            correct += (output.logits.argmax(-1) == batch["labels"]).tolist()
        # Trainer uses numpy's float32 mean. torch's mean rounds differently.
        loss = np.mean(losses, dtype=np.float32).item()
        accuracy = np.mean(correct).item()
        evaluations.append({"eval_loss": loss, "eval_accuracy": accuracy})
    return evaluations
