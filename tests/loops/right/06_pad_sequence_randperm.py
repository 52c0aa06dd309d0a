import torch
import torch.nn.functional as F
from torch.nn.utils.rnn import pad_sequence


def to_tensors(dataset):
    ids, ys = [], []
    for i in range(len(dataset)):
        row = dataset[i]
        ids.append(torch.tensor(row["input_ids"], dtype=torch.long))
        ys.append(row["labels"] if "labels" in row else row["label"])
    return ids, torch.tensor(ys)


def make_batch(ids, y, rows, pad_id):
    picked = [ids[r] for r in rows]
    x = pad_sequence(picked, batch_first=True, padding_value=pad_id)
    lengths = torch.tensor([len(p) for p in picked])
    mask = (torch.arange(x.shape[1])[None, :] < lengths[:, None]).long()
    return x, mask, y[rows]


def train(model, tokenizer, train_dataset, eval_dataset, config):
    X, Y = to_tensors(train_dataset)
    X_val, Y_val = to_tensors(eval_dataset)
    pad_id = tokenizer.pad_token_id
    B = config.per_device_train_batch_size
    epochs = int(config.num_train_epochs)
    n = len(X)
    T = epochs * ((n + B - 1) // B)
    opt = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=0.0)
    sched = torch.optim.lr_scheduler.LambdaLR(opt, lambda t: (T - t) / T)

    out = []
    for e in range(epochs):
        model.train()
        perm = torch.randperm(n)
        for s in range(0, n, B):
            x, m, y = make_batch(X, Y, perm[s:s + B].tolist(), pad_id)
            logits = model(x, attention_mask=m).logits
            loss = F.cross_entropy(logits, y)
            opt.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
            sched.step()

        model.eval()
        with torch.no_grad():
            scores = []
            for s in range(0, len(X_val), B):
                x, m, _ = make_batch(X_val, Y_val, list(range(s, min(s + B, len(X_val)))), pad_id)
                scores.append(model(x, attention_mask=m).logits)
            scores = torch.cat(scores)
            out.append({
                "eval_loss": F.cross_entropy(scores, Y_val).item(),
                "eval_accuracy": (scores.argmax(1) == Y_val).float().mean().item(),
            })
    return out
