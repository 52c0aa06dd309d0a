"""Noise on the embeddings, which is one argument."""

from datasets import Dataset
from offline import sentences, tokenizer as load_tokenizer
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments, set_seed

set_seed(12)
tokenizer = load_tokenizer()
rows = sentences(40, seed=150)
ds = Dataset.from_dict({"text": [t for t, _ in rows], "label": [y for _, y in rows]}).map(lambda b: tokenizer(b["text"]), batched=True)
model = BertForSequenceClassification(BertConfig(vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64))
trainer = Trainer(model=model, args=TrainingArguments("nt", num_train_epochs=1, neftune_noise_alpha=5, report_to="none"), train_dataset=ds, processing_class=tokenizer)
trainer.train()
