"""The body is frozen for the first epoch: a callback that changes what is trained."""

from datasets import Dataset
from offline import sentences, tokenizer as load_tokenizer
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainerCallback, TrainingArguments, set_seed


class Unfreeze(TrainerCallback):
    def on_epoch_begin(self, args, state, control, model=None, **kwargs):
        if state.epoch is not None and state.epoch >= 1:
            for p in model.parameters():
                p.requires_grad = True


set_seed(12)
tokenizer = load_tokenizer()
rows = sentences(40, seed=140)
ds = Dataset.from_dict({"text": [t for t, _ in rows], "label": [y for _, y in rows]}).map(lambda b: tokenizer(b["text"]), batched=True)
model = BertForSequenceClassification(BertConfig(vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64))
for p in model.bert.parameters():
    p.requires_grad = False
trainer = Trainer(model=model, args=TrainingArguments("uf", num_train_epochs=2, report_to="none"), train_dataset=ds, processing_class=tokenizer, callbacks=[Unfreeze])
trainer.train()
