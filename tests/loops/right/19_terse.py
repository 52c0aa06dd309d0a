import torch as T, math
from torch.nn.functional import cross_entropy as ce
def train(model, tokenizer, train_dataset, eval_dataset, config):
    b, E = config.per_device_train_batch_size, int(config.num_train_epochs)
    N, M = len(train_dataset), len(eval_dataset)
    S = E*math.ceil(N/b)
    W = lambda D, I: (lambda z: (z, z.pop('labels')))(tokenizer.pad([{('labels' if k == 'label' else k): v for k, v in D[i].items()} for i in I], return_tensors='pt'))
    o = T.optim.AdamW(model.parameters(), config.learning_rate, weight_decay=0)
    s = T.optim.lr_scheduler.LambdaLR(o, lambda k: 1-k/S)
    R = []
    for e in range(E):
        model.train()
        for I in T.randperm(N).split(b):
            x, y = W(train_dataset, I.tolist())
            ce(model(**x).logits, y).backward()
            T.nn.utils.clip_grad_norm_(model.parameters(), 1.)
            o.step(); s.step(); o.zero_grad()
        model.eval()
        with T.no_grad():
            x, y = W(eval_dataset, range(M)); z = model(**x).logits
        R += [dict(eval_loss=ce(z, y).item(), eval_accuracy=(z.argmax(1)==y).float().mean().item())]
    return R
