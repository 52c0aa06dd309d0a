# %% [markdown]
# # Semantic similarity as regression
# Exported from a notebook. Two sentences in, a score between 0 and 5 out.

# %%
import numpy as np
import pandas as pd
from datasets import Dataset
from transformers import AlbertConfig, AlbertForSequenceClassification
from transformers import PreTrainedTokenizerFast
from transformers import TrainingArguments, Trainer
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing

# %%
rs = np.random.RandomState(0)
words = np.array("red blue green big small old new car house boat tree dog cat runs sleeps shines".split())
rows = []
for _ in range(100):
    a = rs.choice(words, 5, replace=False)
    b = a.copy()
    k = rs.randint(0, 6)
    pos = rs.permutation(5)[:k]
    b[pos] = rs.choice(words, k)
    score = 5.0 * len(set(a) & set(b)) / 5
    rows.append((" ".join(a), " ".join(b), round(float(score), 2)))
df = pd.DataFrame(rows, columns=["sentence1", "sentence2", "score"])
df.head()

# %%
df["score"].describe()

# %%
ds = Dataset.from_pandas(df).train_test_split(0.25, seed=42)
ds

# %%
tok = Tokenizer(models.WordLevel(unk_token="<unk>"))
tok.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
tok.train_from_iterator(df.sentence1.tolist() + df.sentence2.tolist(),
                        trainers.WordLevelTrainer(special_tokens=["<pad>", "<unk>", "[CLS]", "[SEP]"], show_progress=False))
tok.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
                                        special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
tokz = PreTrainedTokenizerFast(tokenizer_object=tok, pad_token="<pad>", unk_token="<unk>", cls_token="[CLS]", sep_token="[SEP]")

# %%
def tok_func(x): return tokz(x["sentence1"], x["sentence2"])

tok_ds = ds.map(tok_func, batched=True)
tok_ds = tok_ds.rename_columns({"score": "labels"})
tok_ds["train"][0]

# %%
def corr(x, y): return np.corrcoef(x, y)[0][1]

def corr_d(eval_pred):
    preds, labels = eval_pred
    preds = preds.squeeze()
    return {"pearson": corr(preds, labels), "mse": float(((preds - labels) ** 2).mean())}

# %%
bs = 16
epochs = 2
lr = 1e-3

args = TrainingArguments('out_sts', learning_rate=lr, warmup_steps=0.1, lr_scheduler_type='cosine',
    eval_strategy="epoch", per_device_train_batch_size=bs, per_device_eval_batch_size=bs*2,
    num_train_epochs=epochs, weight_decay=0.01, report_to='none', save_strategy='no')

# %%
cfg = AlbertConfig(vocab_size=len(tokz), embedding_size=32, hidden_size=64, num_hidden_layers=2, num_attention_heads=4,
                   intermediate_size=128, max_position_embeddings=32, num_labels=1, problem_type="regression", pad_token_id=0,
                   classifier_dropout_prob=0.0)
model = AlbertForSequenceClassification(cfg)
trainer = Trainer(model, args, train_dataset=tok_ds['train'], eval_dataset=tok_ds['test'],
                  processing_class=tokz, compute_metrics=corr_d)

# %%
trainer.train();

# %%
preds = trainer.predict(tok_ds["test"]).predictions.astype(float)
preds = np.clip(preds, 0, 5)
preds[:5]
