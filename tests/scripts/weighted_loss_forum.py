# "My model always predicts class 0, how do I use class weights with Trainer?"
# minimal reproducible example
import torch
from torch import nn
import numpy as np
from transformers import (ElectraConfig, ElectraForSequenceClassification, BertTokenizerFast,
                          Trainer, TrainingArguments, DataCollatorWithPadding)

texts = ["server is up", "all good here", "nothing to report", "server runs fine today"] * 22 + ["server is down please help"] * 7 + ["disk is full"] * 5
labels = [0] * 88 + [1] * 7 + [2] * 5

words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
for t in texts:
    for w in t.split():
        if w not in words:
            words.append(w)
with open("weighted_vocab.txt", "w") as f:
    f.write("\n".join(words))
tokenizer = BertTokenizerFast(vocab="weighted_vocab.txt")


class MyDataset(torch.utils.data.Dataset):
    def __init__(self, encodings, labels):
        self.encodings = encodings
        self.labels = labels

    def __getitem__(self, idx):
        item = {key: torch.tensor(val[idx]) for key, val in self.encodings.items()}
        item["labels"] = torch.tensor(self.labels[idx])
        return item

    def __len__(self):
        return len(self.labels)


idx = np.random.RandomState(1).permutation(len(texts))
tr, te = idx[:75], idx[75:]
train_dataset = MyDataset(tokenizer([texts[i] for i in tr], truncation=True), [labels[i] for i in tr])
test_dataset = MyDataset(tokenizer([texts[i] for i in te], truncation=True), [labels[i] for i in te])

counts = np.bincount([labels[i] for i in tr], minlength=3)
class_weights = torch.tensor(counts.sum() / (3 * counts), dtype=torch.float)
print("class weights", class_weights)


class WeightedTrainer(Trainer):
    def compute_loss(self, model, inputs, return_outputs=False, **kwargs):
        labels = inputs.pop("labels")
        outputs = model(**inputs)
        logits = outputs.get("logits")
        loss_fct = nn.CrossEntropyLoss(weight=class_weights.to(logits.device))
        loss = loss_fct(logits.view(-1, self.model.config.num_labels), labels.view(-1))
        return (loss, outputs) if return_outputs else loss


def compute_metrics(pred):
    y = pred.label_ids
    p = pred.predictions.argmax(-1)
    rec = [(p[y == c] == c).mean() for c in np.unique(y)]
    return {"acc": (p == y).mean(), "macro_recall": np.mean(rec)}


config = ElectraConfig(vocab_size=len(words), embedding_size=32, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
                       intermediate_size=64, max_position_embeddings=32, num_labels=3)
model = ElectraForSequenceClassification(config)

args = TrainingArguments(
    output_dir="./out_weighted",
    num_train_epochs=3,
    per_device_train_batch_size=8,
    per_device_eval_batch_size=8,
    warmup_steps=5,
    weight_decay=0.01,
    learning_rate=1e-3,
    logging_steps=10,
    eval_strategy="epoch",
    save_strategy="no",
    report_to="none",
)

trainer = WeightedTrainer(
    model=model,
    args=args,
    train_dataset=train_dataset,
    eval_dataset=test_dataset,
    data_collator=DataCollatorWithPadding(tokenizer=tokenizer),
    compute_metrics=compute_metrics,
)
trainer.train()
print(trainer.evaluate())
