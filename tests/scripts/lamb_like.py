"""An optimizer of one's own through create_optimizer."""

import torch
from datasets import Dataset
from offline import sentences, tokenizer as load_tokenizer
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments, set_seed


class MyTrainer(Trainer):
    def create_optimizer(self, model=None):
        self.optimizer = torch.optim.NAdam(self.model.parameters(), lr=self.args.learning_rate)
        return self.optimizer

    def log(self, logs, *args, **kwargs):
        logs["pi"] = 3
        super().log(logs, *args, **kwargs)


set_seed(12)
tokenizer = load_tokenizer()
rows = sentences(40, seed=160)
ds = Dataset.from_dict({"text": [t for t, _ in rows], "label": [y for _, y in rows]}).map(lambda b: tokenizer(b["text"]), batched=True)
model = BertForSequenceClassification(BertConfig(vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64))
MyTrainer(model=model, args=TrainingArguments("la", num_train_epochs=1, report_to="none"), train_dataset=ds, processing_class=tokenizer).train()
