# Domain-adaptive pretraining of a (tiny) RoBERTa with masked LM.
# Follows run_mlm.py: concatenates all texts and cuts blocks.
import math
import os
from itertools import chain

import torch
from datasets import load_dataset
from tokenizers import ByteLevelBPETokenizer
from transformers import (
    DataCollatorForLanguageModeling,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForMaskedLM,
    Trainer,
    TrainingArguments,
    set_seed,
)

set_seed(7)
OUT = "out_mlm"
os.makedirs(OUT, exist_ok=True)

parts = ["pump", "valve", "bearing", "gearbox", "rotor", "seal", "filter", "sensor"]
faults = ["leaks", "overheats", "vibrates", "is blocked", "shows corrosion", "needs oil"]
acts = ["replaced on site", "sent to the workshop", "to be inspected next week", "cleaned and refitted"]
for name, k in (("train", 3), ("valid", 5)):
    with open(f"{OUT}/{name}.txt", "w") as f:
        for i in range(160 if name == "train" else 40):
            f.write(f"the {parts[i * k % 8]} of unit {i % 12} {faults[(i + k) % 6]} and was {acts[i // k % 4]} .\n")

raw = load_dataset("text", data_files={"train": f"{OUT}/train.txt", "validation": f"{OUT}/valid.txt"})

bpe = ByteLevelBPETokenizer()
bpe.train([f"{OUT}/train.txt"], vocab_size=400, min_frequency=2, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"], show_progress=False)
tokenizer = PreTrainedTokenizerFast(
    tokenizer_object=bpe._tokenizer, bos_token="<s>", eos_token="</s>", cls_token="<s>", sep_token="</s>",
    unk_token="<unk>", pad_token="<pad>", mask_token="<mask>",
)

block_size = 32


def tokenize(batch):
    return tokenizer(batch["text"], return_special_tokens_mask=True)


def group_texts(examples):
    concatenated = {k: list(chain(*examples[k])) for k in examples.keys()}
    total_length = len(concatenated[list(examples.keys())[0]])
    total_length = (total_length // block_size) * block_size
    return {k: [t[i : i + block_size] for i in range(0, total_length, block_size)] for k, t in concatenated.items()}


tokenized = raw.map(tokenize, batched=True, remove_columns=["text"])
lm_datasets = tokenized.map(group_texts, batched=True)

model = RobertaForMaskedLM(
    RobertaConfig(
        vocab_size=len(tokenizer), hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128,
        max_position_embeddings=block_size + 4, type_vocab_size=1,
        pad_token_id=tokenizer.pad_token_id, bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
    )
)
print(f"{model.num_parameters():,} parameters")


def preprocess_logits_for_metrics(logits, labels):
    if isinstance(logits, tuple):
        # Depending on the model and config, logits may contain extra tensors
        logits = logits[0]
    return logits.argmax(dim=-1)


def compute_metrics(eval_preds):
    preds, labels = eval_preds
    # preds have the same shape as the labels, after the argmax(-1) has been calculated
    labels = labels.reshape(-1)
    preds = preds.reshape(-1)
    mask = labels != -100
    return {"accuracy": float((preds[mask] == labels[mask]).mean())}


args = TrainingArguments(
    output_dir=OUT,
    max_steps=24,
    per_device_train_batch_size=16,
    per_device_eval_batch_size=16,
    learning_rate=1e-3,
    weight_decay=0.01,
    warmup_steps=0.1,
    eval_strategy="steps",
    eval_steps=12,
    logging_steps=6,
    save_steps=12,
    save_total_limit=1,
    report_to="none",
)
trainer = Trainer(
    model=model,
    args=args,
    train_dataset=lm_datasets["train"],
    eval_dataset=lm_datasets["validation"],
    processing_class=tokenizer,
    data_collator=DataCollatorForLanguageModeling(tokenizer=tokenizer, mlm=True, mlm_probability=0.15),
    compute_metrics=compute_metrics,
    preprocess_logits_for_metrics=preprocess_logits_for_metrics,
)
before = trainer.evaluate()
print(f">>> Perplexity before: {math.exp(before['eval_loss']):.2f}")
trainer.train()
after = trainer.evaluate()
print(f">>> Perplexity after: {math.exp(after['eval_loss']):.2f}")

with torch.no_grad():
    enc = tokenizer("the pump of unit 3 <mask> and was cleaned", return_tensors="pt").to(model.device)
    top = model(**enc).logits[0, (enc["input_ids"][0] == tokenizer.mask_token_id).nonzero()[0, 0]].topk(3).indices
    print([tokenizer.decode([int(t)]) for t in top])
