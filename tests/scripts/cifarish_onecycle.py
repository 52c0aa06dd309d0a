# small vision experiment: ViT on synthetic 16x16 shapes, SGD + OneCycle like in my old pytorch code
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import Dataset
from transformers import ViTConfig, ViTForImageClassification, Trainer, TrainingArguments, TrainerCallback


CLASSES = ['horizontal', 'vertical', 'square']


class Shapes(Dataset):
    """draws bars/squares with noise. with aug=True flips randomly."""

    def __init__(self, n, seed, aug=False):
        rng = np.random.RandomState(seed)
        self.imgs, self.targets = [], []
        self.aug = aug
        for i in range(n):
            c = i % 3
            im = rng.randn(3, 16, 16).astype('float32') * 0.15
            p = rng.randint(2, 12)
            if c == 0:
                im[:, p:p + 2, :] += 1
            elif c == 1:
                im[:, :, p:p + 2] += 1
            else:
                q = rng.randint(2, 10)
                p = min(p, 10)
                im[:, p:p + 5, q:q + 5] += 1
            self.imgs.append(im)
            self.targets.append(c)

    def __len__(self):
        return len(self.imgs)

    def __getitem__(self, i):
        x = torch.from_numpy(self.imgs[i])
        if self.aug and torch.rand(1).item() < 0.5:
            x = torch.flip(x, dims=[2])
        return x, self.targets[i]


def collate(batch):
    xs, ys = zip(*batch)
    return {'pixel_values': torch.stack(xs), 'labels': torch.tensor(ys)}


class SGDTrainer(Trainer):
    def create_optimizer_and_scheduler(self, num_training_steps):
        decay, no_decay = [], []
        for n, p in self.model.named_parameters():
            if p.ndim <= 1 or n.endswith('cls_token') or 'position_embeddings' in n:
                no_decay.append(p)
            else:
                decay.append(p)
        self.optimizer = torch.optim.SGD(
            [{'params': decay, 'weight_decay': self.args.weight_decay}, {'params': no_decay, 'weight_decay': 0.}],
            lr=self.args.learning_rate, momentum=0.9, nesterov=True)
        self.lr_scheduler = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, max_lr=self.args.learning_rate, total_steps=num_training_steps, pct_start=0.3)


class PrintAcc(TrainerCallback):
    def on_evaluate(self, args, state, control, metrics=None, **kwargs):
        print(f"epoch {state.epoch:.0f}  acc {metrics['eval_acc']:.3f}  loss {metrics['eval_loss']:.3f}")


torch.manual_seed(0)
train_set, test_set = Shapes(180, 0, aug=True), Shapes(60, 1)

model = ViTForImageClassification(ViTConfig(
    image_size=16, patch_size=4, hidden_size=48, num_hidden_layers=2, num_attention_heads=4,
    intermediate_size=96, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    id2label=dict(enumerate(CLASSES)), label2id={c: i for i, c in enumerate(CLASSES)}))

trainer = SGDTrainer(
    model=model,
    args=TrainingArguments(
        output_dir='out/shapes',
        per_device_train_batch_size=20,
        per_device_eval_batch_size=60,
        num_train_epochs=3,
        learning_rate=0.03,
        weight_decay=5e-4,
        max_grad_norm=5.0,
        eval_strategy='epoch',
        save_strategy='no',
        logging_strategy='epoch',
        remove_unused_columns=False,
        dataloader_drop_last=True,
        disable_tqdm=True,
        report_to='none',
        use_cpu=True,
    ),
    train_dataset=train_set,
    eval_dataset=test_set,
    data_collator=collate,
    compute_metrics=lambda p: {'acc': (p.predictions.argmax(1) == p.label_ids).mean().item()},
    callbacks=[PrintAcc()],
)
trainer.train()

out = trainer.predict(test_set)
conf = np.zeros((3, 3), int)
for t, p in zip(out.label_ids, out.predictions.argmax(1)):
    conf[t, p] += 1
print(conf)
