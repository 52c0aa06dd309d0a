# Causal LM from scratch, in the manner of run_clm.py: dataclass args + group_texts.
import logging
import math
import random
import sys
from dataclasses import dataclass, field
from itertools import chain

from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    HfArgumentParser,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
    default_data_collator,
    set_seed,
)

logger = logging.getLogger(__name__)


@dataclass
class ModelArguments:
    n_embd: int = field(default=32, metadata={"help": "Hidden size."})
    n_layer: int = field(default=2)
    n_head: int = field(default=2)
    dropout: float = field(default=0.0)


@dataclass
class DataArguments:
    block_size: int = field(default=32, metadata={"help": "Length of each training chunk."})
    num_documents: int = field(default=600)


@dataclass
class MyTrainingArguments(TrainingArguments):
    # override a few defaults so the script runs without any flags
    output_dir: str = field(default="clm_out")
    max_steps: int = field(default=24)
    per_device_train_batch_size: int = field(default=4)
    gradient_accumulation_steps: int = field(default=4)
    learning_rate: float = field(default=3e-3)
    lr_scheduler_type: str = field(default="cosine")
    warmup_steps: float = field(default=0.1)  # < 1 means ratio
    logging_steps: float = field(default=6)
    save_strategy: str = field(default="no")
    report_to: str = field(default="none")


def make_corpus(n):
    who = ["the cat", "a dog", "my neighbour", "the old captain", "a small robot"]
    what = ["sat on", "walked past", "painted", "dreamed of", "repaired"]
    where = ["the mat", "a red door", "the harbour", "an empty house", "the garden"]
    return [f"{random.choice(who)} {random.choice(what)} {random.choice(where)} ." for _ in range(n)]


def main():
    parser = HfArgumentParser((ModelArguments, DataArguments, MyTrainingArguments))
    model_args, data_args, training_args = parser.parse_args_into_dataclasses()
    logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(levelname)s %(message)s")
    set_seed(training_args.seed)

    corpus = make_corpus(data_args.num_documents)
    tk = Tokenizer(models.WordLevel(unk_token="<unk>"))
    tk.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tk.train_from_iterator(corpus, trainers.WordLevelTrainer(special_tokens=["<unk>", "<eos>"]))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=tk, unk_token="<unk>", eos_token="<eos>")

    raw = Dataset.from_dict({"text": [t + " <eos>" for t in corpus]}).train_test_split(0.1, seed=0)
    tokenized = raw.map(lambda ex: tokenizer(ex["text"], return_token_type_ids=False), batched=True, remove_columns="text")

    def group_texts(examples):
        joined = {k: list(chain(*examples[k])) for k in examples.keys()}
        total = len(joined["input_ids"]) // data_args.block_size * data_args.block_size
        out = {k: [v[i:i + data_args.block_size] for i in range(0, total, data_args.block_size)]
               for k, v in joined.items()}
        out["labels"] = out["input_ids"].copy()
        return out

    lm = tokenized.map(group_texts, batched=True)
    logger.info("train chunks %d, eval chunks %d", len(lm["train"]), len(lm["test"]))

    p = model_args.dropout
    model = GPT2LMHeadModel(GPT2Config(
        vocab_size=len(tokenizer), n_positions=data_args.block_size, n_embd=model_args.n_embd,
        n_layer=model_args.n_layer, n_head=model_args.n_head, resid_pdrop=p, embd_pdrop=p, attn_pdrop=p,
        bos_token_id=tokenizer.eos_token_id, eos_token_id=tokenizer.eos_token_id))

    trainer = Trainer(model=model, args=training_args, train_dataset=lm["train"], eval_dataset=lm["test"],
                      processing_class=tokenizer, data_collator=default_data_collator)
    result = trainer.train()
    trainer.save_model()
    trainer.log_metrics("train", result.metrics)

    metrics = trainer.evaluate()
    metrics["perplexity"] = math.exp(metrics["eval_loss"])
    trainer.log_metrics("eval", metrics)
    trainer.save_metrics("eval", metrics)


if __name__ == "__main__":
    main()
