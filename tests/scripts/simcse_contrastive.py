import json
import os
import random

import torch
import torch.nn as nn
import torch.nn.functional as F
from transformers import BertConfig, BertModel, BertTokenizerFast, Trainer, TrainingArguments


class SimCSE(nn.Module):
    """Encoder + projection head; two dropout-noised passes of a sentence are a positive pair."""

    def __init__(self, config, pooling="cls", temp=0.05):
        super().__init__()
        self.config = config
        self.encoder = BertModel(config, add_pooling_layer=False)
        self.proj = nn.Sequential(nn.Linear(config.hidden_size, config.hidden_size), nn.Tanh())
        self.pooling = pooling
        self.temp = temp

    def encode(self, input_ids, attention_mask):
        h = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        if self.pooling == "cls":
            return self.proj(h[:, 0])
        m = attention_mask.unsqueeze(-1).float()
        return self.proj((h * m).sum(1) / m.sum(1))

    def forward(self, input_ids, attention_mask):
        # input_ids: (batch, 2, len)
        b, n, l = input_ids.shape
        z = self.encode(input_ids.view(b * n, l), attention_mask.view(b * n, l))
        return z.view(b, n, -1)


class PairCollator:
    def __init__(self, tokenizer, max_len=16):
        self.tokenizer = tokenizer
        self.max_len = max_len

    def __call__(self, batch):
        sents = []
        for ex in batch:
            sents += [ex["text"], ex["text"]]
        enc = self.tokenizer(sents, padding=True, truncation=True, max_length=self.max_len, return_tensors="pt")
        return {
            "input_ids": enc["input_ids"].view(len(batch), 2, -1),
            "attention_mask": enc["attention_mask"].view(len(batch), 2, -1),
        }


class ContrastiveTrainer(Trainer):
    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        z = model(inputs["input_ids"], inputs["attention_mask"])
        z1, z2 = z[:, 0], z[:, 1]
        sim = F.cosine_similarity(z1.unsqueeze(1), z2.unsqueeze(0), dim=-1) / self.model.temp
        labels = torch.arange(sim.size(0), device=sim.device)
        loss = F.cross_entropy(sim, labels)
        if self.state.global_step % 5 == 0 and model.training:
            self.log({"batch_acc": (sim.argmax(-1) == labels).float().mean().item()})
        return (loss, {"sim": sim}) if return_outputs else loss


class JsonlSentences(torch.utils.data.Dataset):
    def __init__(self, path):
        with open(path) as f:
            self.rows = [json.loads(l) for l in f]

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return self.rows[i]


def main():
    torch.manual_seed(0)
    out = "out_simcse"
    os.makedirs(out, exist_ok=True)
    rng = random.Random(0)
    a, v, o = "cat dog child woman man bird".split(), "watches paints holds drops buys".split(), "apple lamp chair phone book kite".split()
    path = os.path.join(out, "sentences.jsonl")
    with open(path, "w") as f:
        for _ in range(101):
            f.write(json.dumps({"text": f"the {rng.choice(a)} {rng.choice(v)} a {rng.choice(o)} and a {rng.choice(o)}"}) + "\n")

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "a", "and"] + a + v + o
    tokenizer = BertTokenizerFast(vocab={w: i for i, w in enumerate(words)})
    model = SimCSE(BertConfig(vocab_size=len(words), hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96, max_position_embeddings=32))

    trainer = ContrastiveTrainer(
        model=model,
        args=TrainingArguments(
            output_dir=out,
            num_train_epochs=2,
            per_device_train_batch_size=16,
            learning_rate=5e-4,
            warmup_steps=2,
            # the in-batch negatives need full batches
            dataloader_drop_last=True,
            remove_unused_columns=False,
            save_strategy="no",
            logging_steps=2,
            report_to="none",
            seed=0,
        ),
        train_dataset=JsonlSentences(path),
        data_collator=PairCollator(tokenizer),
    )
    trainer.train()
    torch.save(model.state_dict(), os.path.join(out, "simcse.pt"))


if __name__ == "__main__":
    main()
