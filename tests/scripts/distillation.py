"""A small student learns from a larger teacher."""

import torch
import torch.nn.functional as F
from datasets import Dataset
from offline import sentences, tokenizer as load_tokenizer
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments, set_seed


def bert(tokenizer, layers):
    return BertForSequenceClassification(
        BertConfig(vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=layers, num_attention_heads=2, intermediate_size=64)
    )


class DistillationTrainer(Trainer):
    def __init__(self, teacher, temperature=2.0, alpha=0.5, **kwargs):
        super().__init__(**kwargs)
        self.teacher = teacher.eval()
        self.temperature = temperature
        self.alpha = alpha

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        with torch.no_grad():
            teacher_logits = self.teacher(**inputs).logits
        loss, outputs = super().compute_loss(model, inputs, return_outputs=True)
        soft = F.kl_div(
            F.log_softmax(outputs.logits / self.temperature, dim=-1),
            F.softmax(teacher_logits / self.temperature, dim=-1),
            reduction="batchmean",
        )
        loss = self.alpha * loss + (1 - self.alpha) * self.temperature**2 * soft
        return (loss, outputs) if return_outputs else loss


set_seed(33)
tokenizer = load_tokenizer()
rows = sentences(66, seed=100)
ds = Dataset.from_dict({"text": [t for t, _ in rows], "label": [y for _, y in rows]}).map(
    lambda b: tokenizer(b["text"]), batched=True
)
teacher, student = bert(tokenizer, 3), bert(tokenizer, 1)
trainer = DistillationTrainer(
    teacher=teacher,
    temperature=3.0,
    alpha=0.7,
    model=student,
    args=TrainingArguments("distil", num_train_epochs=2, learning_rate=1e-3, per_device_train_batch_size=8, eval_strategy="epoch", save_strategy="no", report_to="none"),
    train_dataset=ds.select(range(46)),
    eval_dataset=ds.select(range(46, 66)),
    processing_class=tokenizer,
)
trainer.train()
student.save_pretrained("distil/student")
