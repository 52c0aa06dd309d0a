import numpy as np
import torch
from datasets import Dataset, DatasetDict
from transformers import Trainer, TrainingArguments, ViTConfig, ViTForImageClassification

# --- fake "shapes" dataset: 32x32 rgb arrays with a bright bar (horizontal / vertical / none)
labels = ["horizontal", "vertical", "blank"]


def make_images(n, seed):
    g = np.random.default_rng(seed)
    imgs, ys = [], []
    for i in range(n):
        y = int(g.integers(3))
        img = g.integers(0, 80, size=(32, 32, 3)).astype(np.uint8)
        k = int(g.integers(4, 26))
        if y == 0:
            img[k : k + 4, :, :] = 240
        elif y == 1:
            img[:, k : k + 4, :] = 240
        imgs.append(img.tolist())
        ys.append(y)
    return Dataset.from_dict({"pixels": imgs, "label": ys})


ds = DatasetDict({"train": make_images(96, 0), "validation": make_images(32, 1)})

MEAN, STD = 0.5, 0.5
rng = np.random.default_rng(0)


def to_tensor(px):
    x = torch.tensor(np.array(px, dtype=np.float32) / 255.0).permute(2, 0, 1)
    return (x - MEAN) / STD


def train_transforms(batch):
    out = []
    for px in batch["pixels"]:
        x = to_tensor(px)
        if rng.random() < 0.5:
            x = torch.flip(x, dims=[2])
        out.append(x)
    return {"pixel_values": out, "label": batch["label"]}


def val_transforms(batch):
    return {"pixel_values": [to_tensor(p) for p in batch["pixels"]], "label": batch["label"]}


ds["train"].set_transform(train_transforms)
ds["validation"].set_transform(val_transforms)


def collate_fn(examples):
    pixel_values = torch.stack([example["pixel_values"] for example in examples])
    labels = torch.tensor([example["label"] for example in examples])
    return {"pixel_values": pixel_values, "labels": labels}


def compute_metrics(p):
    return {"accuracy": float((np.argmax(p.predictions, axis=1) == p.label_ids).mean())}


model = ViTForImageClassification(
    ViTConfig(
        hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96, image_size=32, patch_size=8,
        id2label={str(i): c for i, c in enumerate(labels)}, label2id={c: str(i) for i, c in enumerate(labels)},
    )
)

training_args = TrainingArguments(
    output_dir="./out_vit",
    per_device_train_batch_size=16,
    eval_strategy="steps",
    num_train_epochs=3,
    save_steps=6,
    eval_steps=6,
    logging_steps=3,
    learning_rate=0.05,
    optim="sgd",
    save_total_limit=2,
    remove_unused_columns=False,
    push_to_hub=False,
    report_to="none",
    load_best_model_at_end=True,
)

trainer = Trainer(
    model=model,
    args=training_args,
    data_collator=collate_fn,
    compute_metrics=compute_metrics,
    train_dataset=ds["train"],
    eval_dataset=ds["validation"],
)

train_results = trainer.train()
trainer.save_model()
trainer.log_metrics("train", train_results.metrics)
trainer.save_metrics("train", train_results.metrics)
trainer.save_state()

metrics = trainer.evaluate(ds["validation"])
trainer.log_metrics("eval", metrics)
trainer.save_metrics("eval", metrics)
