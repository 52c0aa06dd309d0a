"""Knowledge distillation: train a 'teacher', then a smaller student on its soft targets.

(after the distillation example of the O'Reilly book)
"""
import random

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from datasets import ClassLabel, Dataset
from tokenizers import BertWordPieceTokenizer
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertTokenizerFast,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    Trainer,
    TrainingArguments,
    set_seed,
)

set_seed(42)

INTENTS = {
    "balance": ["how much money do i have", "show my balance", "what is in my account"],
    "transfer": ["send money to {}", "transfer ten euros to {}", "pay {} back"],
    "card": ["i lost my card", "block my card now", "my card was stolen by {}"],
    "greeting": ["hello there", "hi {} good morning", "good evening"],
}
NAMES = ["anna", "bob", "carl", "dora", "eve"]


def load_intents(n):
    rng = random.Random(0)
    names = list(INTENTS)
    text, intent = [], []
    for _ in range(n):
        y = rng.choice(names)
        text.append(rng.choice(INTENTS[y]).format(rng.choice(NAMES)))
        intent.append(y)
    ds = Dataset.from_dict({"text": text, "intent": intent})
    return ds.cast_column("intent", ClassLabel(names=names)).train_test_split(test_size=0.25, seed=0)


class DistillationTrainingArguments(TrainingArguments):
    def __init__(self, *args, alpha=0.5, temperature=2.0, **kwargs):
        super().__init__(*args, **kwargs)
        self.alpha = alpha
        self.temperature = temperature


class DistillationTrainer(Trainer):
    def __init__(self, *args, teacher_model=None, **kwargs):
        super().__init__(*args, **kwargs)
        self.teacher_model = teacher_model
        # place the teacher on the same device as the student
        self._move_model_to_device(self.teacher_model, self.model.device)
        self.teacher_model.eval()

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        outputs_stu = model(**inputs)
        # Extract cross-entropy loss and logits from student
        loss_ce = outputs_stu.loss
        logits_stu = outputs_stu.logits
        # Extract logits from teacher
        with torch.no_grad():
            outputs_tea = self.teacher_model(**inputs)
            logits_tea = outputs_tea.logits
        # Soften probabilities and compute distillation loss
        loss_fct = nn.KLDivLoss(reduction="batchmean")
        loss_kd = self.args.temperature**2 * loss_fct(
            F.log_softmax(logits_stu / self.args.temperature, dim=-1),
            F.softmax(logits_tea / self.args.temperature, dim=-1),
        )
        # Return weighted student loss
        loss = self.args.alpha * loss_ce + (1.0 - self.args.alpha) * loss_kd
        return (loss, outputs_stu) if return_outputs else loss


def compute_metrics(pred):
    predictions, labels = pred
    predictions = np.argmax(predictions, axis=1)
    return {"accuracy": float((predictions == labels).mean())}


intents = load_intents(120)
wp = BertWordPieceTokenizer()
wp.train_from_iterator(intents["train"]["text"], vocab_size=200, show_progress=False)
tokenizer = BertTokenizerFast(tokenizer_object=wp._tokenizer, model_input_names=["input_ids", "attention_mask"])


def tokenize_text(batch):
    return tokenizer(batch["text"], truncation=True)


intents_enc = intents.map(tokenize_text, batched=True, remove_columns=["text"])
intents_enc = intents_enc.rename_column("intent", "labels")
num_labels = intents["train"].features["intent"].num_classes

teacher = BertForSequenceClassification(
    BertConfig(vocab_size=len(tokenizer), hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128, max_position_embeddings=32, num_labels=num_labels)
)
teacher_args = TrainingArguments(
    "out_distill/teacher", num_train_epochs=2, learning_rate=1e-3, per_device_train_batch_size=16, save_strategy="no", report_to="none", logging_steps=5
)
Trainer(model=teacher, args=teacher_args, train_dataset=intents_enc["train"], processing_class=tokenizer).train()


def student_init():
    return DistilBertForSequenceClassification(
        DistilBertConfig(vocab_size=len(tokenizer), dim=32, hidden_dim=64, n_layers=1, n_heads=2, max_position_embeddings=32, num_labels=num_labels)
    )


batch_size = 16
student_training_args = DistillationTrainingArguments(
    output_dir="out_distill/student",
    eval_strategy="epoch",
    num_train_epochs=3,
    learning_rate=2e-3,
    per_device_train_batch_size=batch_size,
    per_device_eval_batch_size=batch_size,
    alpha=0.3,
    temperature=4.0,
    weight_decay=0.01,
    save_strategy="no",
    report_to="none",
    logging_steps=5,
)
distil_trainer = DistillationTrainer(
    model_init=student_init,
    teacher_model=teacher,
    args=student_training_args,
    train_dataset=intents_enc["train"],
    eval_dataset=intents_enc["test"],
    compute_metrics=compute_metrics,
    processing_class=tokenizer,
)
distil_trainer.train()
distil_trainer.save_model("out_distill/student_final")
