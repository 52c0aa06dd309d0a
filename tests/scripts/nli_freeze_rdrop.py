# NLI on sentence pairs. The encoder is frozen for the first epoch (only the head learns), then all is trained.
# Loss is R-Drop (two forward passes + symmetric KL).
import numpy as np, random, os
import torch, torch.nn.functional as F
from datasets import Dataset, DatasetDict
from transformers import (BertConfig, BertForSequenceClassification, BertTokenizer, Trainer, TrainerCallback, TrainingArguments, set_seed)

SEED = 5
set_seed(SEED)
id2label = {0: "entailment", 1: "neutral", 2: "contradiction"}


def generate(n, seed, nouns):
    r = random.Random(seed)
    rows = {"premise": [], "hypothesis": [], "label": []}
    for _ in range(n):
        noun, act = r.choice(nouns), r.choice(["sleeping", "running", "eating", "singing"])
        y = r.randrange(3)
        rows["premise"].append(f"a {noun} is {act} in the park")
        rows["hypothesis"].append([f"a {noun} is {act}", f"a {noun} is hungry", f"no {noun} is {act}"][y])
        rows["label"].append(y)
    return Dataset.from_dict(rows)


train_nouns, other_nouns = ["man", "woman", "dog", "girl"], ["boy", "cat", "horse"]
data = DatasetDict(train=generate(112, 0, train_nouns + ["boy"]), matched=generate(30, 1, train_nouns), mismatched=generate(30, 2, other_nouns))

vocab = "[PAD] [UNK] [CLS] [SEP] [MASK] a no is in the park hungry sleeping running eating singing man woman dog girl boy cat horse".split()
tokenizer = BertTokenizer(vocab={w: i for i, w in enumerate(vocab)})
data = data.map(lambda ex: tokenizer(ex["premise"], ex["hypothesis"], truncation="longest_first", max_length=32), batched=True)
print(data)

model = BertForSequenceClassification(BertConfig(vocab_size=len(vocab), hidden_size=48, num_hidden_layers=2, num_attention_heads=4,
                                                 intermediate_size=96, max_position_embeddings=32, num_labels=3, id2label=id2label,
                                                 label2id={v: k for k, v in id2label.items()}))


class UnfreezeCallback(TrainerCallback):
    def __init__(self, unfreeze_epoch=1):
        self.unfreeze_epoch = unfreeze_epoch

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        for p in model.bert.encoder.parameters():
            p.requires_grad = False
        n = sum(p.numel() for p in model.parameters() if p.requires_grad)
        print(f"*** encoder frozen, {n} trainable parameters")

    def on_epoch_begin(self, args, state, control, model=None, **kwargs):
        if round(state.epoch) == self.unfreeze_epoch:
            print("*** unfreezing the encoder")
            for p in model.bert.encoder.parameters():
                p.requires_grad = True


class RDropTrainer(Trainer):
    def __init__(self, *args, rdrop_alpha=1.0, **kwargs):
        super().__init__(*args, **kwargs)
        self.rdrop_alpha = rdrop_alpha

    def compute_loss(self, model, inputs, return_outputs=False, **kwargs):
        out1 = model(**inputs)
        if not model.training:
            return (out1.loss, out1) if return_outputs else out1.loss
        out2 = model(**inputs)
        lp, lq = F.log_softmax(out1.logits, -1), F.log_softmax(out2.logits, -1)
        kl = 0.5 * (F.kl_div(lp, lq, reduction="batchmean", log_target=True) + F.kl_div(lq, lp, reduction="batchmean", log_target=True))
        loss = 0.5 * (out1.loss + out2.loss) + self.rdrop_alpha * kl
        return (loss, out1) if return_outputs else loss


# word embeddings stay frozen all the time
for p in model.bert.embeddings.word_embeddings.parameters():
    p.requires_grad = False


def accuracy(p):
    return {"accuracy": float((np.argmax(p.predictions, 1) == p.label_ids).mean())}


trainer = RDropTrainer(
    model=model,
    args=TrainingArguments(output_dir="out_nli", num_train_epochs=3, per_device_train_batch_size=16, learning_rate=2e-3, max_grad_norm=1.0,
                           eval_strategy="epoch", save_strategy="epoch", save_total_limit=1, save_only_model=True, logging_steps=7,
                           seed=SEED, data_seed=SEED, report_to="none"),
    train_dataset=data["train"],
    eval_dataset={"matched": data["matched"], "mismatched": data["mismatched"]},
    processing_class=tokenizer,
    compute_metrics=accuracy,
    callbacks=[UnfreezeCallback(1)],
    rdrop_alpha=0.5,
)
trainer.train()

pred = trainer.predict(data["mismatched"])
print(pred.metrics)
with open(os.path.join("out_nli", "mismatched.csv"), "w") as f:
    f.write("premise,hypothesis,gold,pred\n")
    for ex, p in zip(data["mismatched"], pred.predictions.argmax(1)):
        f.write(f"{ex['premise']},{ex['hypothesis']},{id2label[ex['label']]},{id2label[int(p)]}\n")
