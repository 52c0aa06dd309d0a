"""AdamW (Loshchilov & Hutter) written out as an Optimizer of my own."""
import math

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader
from transformers import DataCollatorWithPadding


class MyAdamW(Optimizer):
    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
        if lr < 0:
            raise ValueError("negative learning rate")
        super().__init__(params, dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["t"] = 0
                    state["m"] = torch.zeros_like(p)
                    state["v"] = torch.zeros_like(p)
                state["t"] += 1
                m, v, t, g = state["m"], state["v"], state["t"], p.grad
                if group["weight_decay"]:
                    p.mul_(1 - group["lr"] * group["weight_decay"])
                m.mul_(beta1).add_(g, alpha=1 - beta1)
                v.mul_(beta2).addcmul_(g, g, value=1 - beta2)
                m_hat_scale = group["lr"] / (1 - beta1 ** t)
                denom = v.sqrt() / math.sqrt(1 - beta2 ** t) + group["eps"]
                p.addcdiv_(m, denom, value=-m_hat_scale)
        return loss


def evaluate(model, loader):
    model.eval()
    n = right = 0
    nll = 0.0
    with torch.no_grad():
        for batch in loader:
            out = model(**batch)
            n += len(out.logits)
            nll += len(out.logits) * out.loss.item()
            right += (out.logits.argmax(-1) == batch["labels"]).sum().item()
    return {"eval_loss": nll / n, "eval_accuracy": right / n}


def train(model, tokenizer, train_dataset, eval_dataset, config):
    collate = DataCollatorWithPadding(tokenizer)
    train_loader = DataLoader(
        train_dataset, batch_size=config.per_device_train_batch_size, shuffle=True, collate_fn=collate
    )
    eval_loader = DataLoader(eval_dataset, batch_size=config.per_device_eval_batch_size, collate_fn=collate)
    optimizer = MyAdamW(model.parameters(), lr=config.learning_rate)
    steps = len(train_loader) * int(config.num_train_epochs)
    scheduler = LambdaLR(optimizer, lambda k: 1 - k / steps)
    evaluations = []
    for epoch in range(int(config.num_train_epochs)):
        model.train()
        for batch in train_loader:
            loss = model(**batch).loss
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
        evaluations.append(evaluate(model, eval_loader))
    return evaluations
