"""Ticket routing model - training entry point.

    python ticket_router.py [--config ticket_router.yaml] [--resume]
"""
import argparse
import json
import logging
import random
from pathlib import Path
from typing import Any, Dict

import numpy as np
import yaml
from datasets import Dataset, DatasetDict, load_dataset
from tokenizers import BertWordPieceTokenizer
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertTokenizerFast,
    DataCollatorWithPadding,
    EarlyStoppingCallback,
    Trainer,
    TrainingArguments,
    set_seed,
)
from transformers.trainer_utils import get_last_checkpoint

logging.basicConfig(level=logging.INFO, format="[%(asctime)s] %(levelname)s %(name)s: %(message)s")
LOGGER = logging.getLogger("ticket_router")

QUEUES = {
    "billing": ["invoice is wrong", "charged twice", "refund not received", "update credit card"],
    "access": ["cannot log in", "password reset loop", "account locked", "two factor code missing"],
    "bug": ["app crashes on start", "export button broken", "page shows error", "report is empty"],
}


class TicketRouterTraining:
    def __init__(self, config: Dict[str, Any], resume: bool = False) -> None:
        self.config = config
        self.resume = resume
        self.labels = sorted(QUEUES)
        self.tokenizer = None

    # -- data ------------------------------------------------------------------------------
    def _dump_fake_tickets(self, path: Path) -> None:
        rng = random.Random(self.config["seed"])
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as f:
            for i in range(self.config["data"]["n_rows"]):
                queue = rng.choice(self.labels)
                f.write(json.dumps({"ticket_id": i, "subject": rng.choice(QUEUES[queue]), "body": f"since {rng.choice(['today', 'monday', 'the update'])}", "queue": queue}) + "\n")

    def load(self) -> DatasetDict:
        path = Path(self.config["data"]["path"])
        self._dump_fake_tickets(path)
        ds: Dataset = load_dataset("json", data_files=str(path), split="train")
        ds = ds.map(lambda row: {"text": row["subject"] + " . " + row["body"], "labels": self.labels.index(row["queue"])})
        return ds.train_test_split(test_size=self.config["data"]["valid_fraction"], seed=self.config["seed"])

    def build_tokenizer(self, texts) -> BertTokenizerFast:
        wp = BertWordPieceTokenizer(lowercase=True)
        wp.train_from_iterator(texts, vocab_size=300, min_frequency=1, show_progress=False)
        return BertTokenizerFast(tokenizer_object=wp._tokenizer)

    def encode(self, ds: DatasetDict) -> DatasetDict:
        return ds.map(
            lambda b: self.tokenizer(b["text"], truncation=True, max_length=self.config["data"]["max_length"]),
            batched=True,
            remove_columns=["ticket_id", "subject", "body", "queue", "text"],
        )

    # -- model -----------------------------------------------------------------------------
    def model_init(self) -> BertForSequenceClassification:
        return BertForSequenceClassification(
            BertConfig(
                vocab_size=len(self.tokenizer),
                max_position_embeddings=64,
                id2label=dict(enumerate(self.labels)),
                label2id={label: i for i, label in enumerate(self.labels)},
                **self.config["model"],
            )
        )

    @staticmethod
    def compute_metrics(eval_pred) -> Dict[str, float]:
        preds = np.argmax(eval_pred.predictions, axis=-1)
        return {"accuracy": float(np.mean(preds == eval_pred.label_ids))}

    # -- run -------------------------------------------------------------------------------
    def run(self) -> Dict[str, float]:
        set_seed(self.config["seed"])
        raw = self.load()
        self.tokenizer = self.build_tokenizer(raw["train"]["text"])
        ds = self.encode(raw)
        args = TrainingArguments(seed=self.config["seed"], run_name=self.config["experiment"], **self.config["trainer"])
        es = self.config["early_stopping"]
        trainer = Trainer(
            model_init=self.model_init,
            args=args,
            train_dataset=ds["train"],
            eval_dataset=ds["test"],
            processing_class=self.tokenizer,
            data_collator=DataCollatorWithPadding(self.tokenizer, pad_to_multiple_of=8),
            compute_metrics=self.compute_metrics,
            callbacks=[EarlyStoppingCallback(early_stopping_patience=es["patience"], early_stopping_threshold=es["threshold"])],
        )
        checkpoint = get_last_checkpoint(args.output_dir) if self.resume and Path(args.output_dir).is_dir() else None
        LOGGER.info("starting training, checkpoint=%s", checkpoint)
        trainer.train(resume_from_checkpoint=checkpoint)
        LOGGER.info("best checkpoint: %s (%.3f)", trainer.state.best_model_checkpoint, trainer.state.best_metric or -1)
        metrics = trainer.evaluate()
        target = Path(args.output_dir) / "model"
        trainer.save_model(str(target))
        (target / "metrics.json").write_text(json.dumps(metrics, indent=2))
        return metrics


if __name__ == "__main__":
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--config", type=Path, default=Path(__file__).with_name("ticket_router.yaml"))
    ap.add_argument("--resume", action="store_true")
    ns = ap.parse_args()
    result = TicketRouterTraining(yaml.safe_load(ns.config.read_text()), resume=ns.resume).run()
    LOGGER.info("result: %s", result)
