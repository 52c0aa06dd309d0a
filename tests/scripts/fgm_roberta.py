# -*- coding: utf-8 -*-
# FGM adversarial training with HF Trainer
import os
import random
import torch
from torch.utils.data import Dataset
from transformers import RobertaConfig, RobertaForSequenceClassification, BertTokenizerFast
from transformers import Trainer, TrainingArguments

os.environ["TOKENIZERS_PARALLELISM"] = "false"
cur_dir = os.path.dirname(os.path.abspath(__file__))
max_len = 32


class FGM():
    def __init__(self, model, emb_name='word_embeddings', epsilon=1.0):
        self.model = model
        self.emb_name = emb_name
        self.epsilon = epsilon
        self.backup = {}

    def attack(self):
        for name, param in self.model.named_parameters():
            if param.requires_grad and self.emb_name in name and param.grad is not None:
                self.backup[name] = param.data.clone()
                norm = torch.norm(param.grad)
                if norm != 0 and not torch.isnan(norm):
                    r_at = self.epsilon * param.grad / norm
                    param.data.add_(r_at)

    def restore(self):
        for name, param in self.model.named_parameters():
            if name in self.backup:
                param.data = self.backup[name]
        self.backup = {}


class FGMTrainer(Trainer):
    def __init__(self, *args, epsilon=0.5, **kwargs):
        super().__init__(*args, **kwargs)
        self.fgm = FGM(self.model, epsilon=epsilon)
        self.adv_loss_sum = 0.0
        self.adv_steps = 0

    def training_step(self, model, inputs, num_items_in_batch=None):
        model.train()
        inputs = self._prepare_inputs(inputs)
        with self.compute_loss_context_manager():
            loss = self.compute_loss(model, inputs)
        self.accelerator.backward(loss)

        # adversarial
        self.fgm.attack()
        with self.compute_loss_context_manager():
            loss_adv = self.compute_loss(model, inputs)
        self.accelerator.backward(loss_adv)
        self.fgm.restore()

        self.adv_loss_sum += loss_adv.item()
        self.adv_steps += 1
        return loss.detach()

    def log(self, logs, start_time=None):
        if "loss" in logs and self.adv_steps > 0:
            logs["adv_loss"] = round(self.adv_loss_sum / self.adv_steps, 4)
            self.adv_loss_sum, self.adv_steps = 0.0, 0
        super().log(logs, start_time)


class TextDataset(Dataset):
    def __init__(self, lines, tokenizer):
        self.data = []
        for text, label in lines:
            enc = tokenizer(text, padding='max_length', truncation=True, max_length=max_len)
            self.data.append({
                'input_ids': torch.tensor(enc['input_ids'], dtype=torch.long),
                'attention_mask': torch.tensor(enc['attention_mask'], dtype=torch.long),
                'labels': torch.tensor(label, dtype=torch.long),
            })

    def __len__(self):
        return len(self.data)

    def __getitem__(self, i):
        return self.data[i]


def load_data(path):
    lines = []
    with open(path, encoding='utf-8') as f:
        next(f)
        for line in f:
            _, text, label = line.strip().split(',')
            lines.append((text, 1 if label == 'positive' else 0))
    random.shuffle(lines)
    return lines


def compute_metrics(pred):
    labels = pred.label_ids
    preds = pred.predictions.argmax(-1)
    acc = (labels == preds).sum() / len(labels)
    return {'acc': acc}


if __name__ == '__main__':
    random.seed(2022)
    torch.manual_seed(2022)
    tokenizer = BertTokenizerFast(os.path.join(cur_dir, 'vocab.txt'))
    lines = load_data(os.path.join(cur_dir, 'data/reviews.csv'))
    train_set = TextDataset(lines[:120], tokenizer)
    dev_set = TextDataset(lines[120:], tokenizer)

    config = RobertaConfig(vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
                           intermediate_size=64, max_position_embeddings=max_len + 2, pad_token_id=0,
                           type_vocab_size=1, num_labels=2)
    model = RobertaForSequenceClassification(config)

    training_args = TrainingArguments(
        output_dir=os.path.join(cur_dir, 'out/fgm'),
        num_train_epochs=3,
        per_device_train_batch_size=12,
        per_device_eval_batch_size=40,
        learning_rate=1e-3,
        logging_steps=10,
        eval_strategy='steps',
        eval_steps=10,
        save_strategy='no',
        report_to='none',
        use_cpu=True,
    )
    trainer = FGMTrainer(
        model=model,
        args=training_args,
        train_dataset=train_set,
        eval_dataset=dev_set,
        compute_metrics=compute_metrics,
        epsilon=0.5,
    )
    trainer.train()
    res = trainer.evaluate()
    print('final acc:', res['eval_acc'])
