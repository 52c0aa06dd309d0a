#!/usr/bin/env python
"""
Headline generation with a T5 made from scratch. Shape of run_summarization.py without the hub parts.
"""
import logging
import random
import sys
from dataclasses import dataclass, field

import numpy as np
from datasets import Dataset, DatasetDict
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    DataCollatorForSeq2Seq,
    HfArgumentParser,
    PreTrainedTokenizerFast,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    T5Config,
    T5ForConditionalGeneration,
    set_seed,
)

logging.basicConfig(level=logging.INFO, handlers=[logging.StreamHandler(sys.stdout)])
logger = logging.getLogger(__name__)


@dataclass
class DataArguments:
    max_source_length: int = field(default=48)
    max_target_length: int = field(default=12)
    source_prefix: str = field(default="summarize: ")
    ignore_pad_token_for_loss: bool = field(default=True)
    n_train: int = field(default=72)
    n_eval: int = field(default=12)


def stories(n, seed):
    rng = random.Random(seed)
    teams = ["lions", "hawks", "bears", "sharks"]
    d = {"document": [], "summary": []}
    for _ in range(n):
        a, b = rng.sample(teams, 2)
        x, y = rng.randint(0, 5), rng.randint(0, 5)
        res = "beat" if x > y else "lose to" if x < y else "draw with"
        d["document"].append(f"the {a} met the {b} in a cold stadium . the {a} scored {x} goals while the {b} scored {y} .")
        d["summary"].append(f"{a} {res} {b}")
    return Dataset.from_dict(d)


def get_tokenizer(texts):
    tok = Tokenizer(models.Unigram())
    tok.pre_tokenizer = pre_tokenizers.Metaspace()
    tok.decoder = decoders.Metaspace()
    tok.train_from_iterator(
        texts, trainers.UnigramTrainer(vocab_size=150, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False)
    )
    tok.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=tok, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_input_names=["input_ids", "attention_mask"])


def main():
    parser = HfArgumentParser((DataArguments, Seq2SeqTrainingArguments))
    argv = sys.argv[1:] or (
        "--output_dir out_t5 --do_train --do_eval --do_predict --per_device_train_batch_size 8 --per_device_eval_batch_size 16 "
        "--num_train_epochs 2 --learning_rate 1e-2 --optim adafactor --lr_scheduler_type constant --label_smoothing_factor 0.1 "
        "--predict_with_generate --generation_max_length 12 --generation_num_beams 2 --eval_strategy epoch --save_strategy no "
        "--logging_steps 6 --report_to none --seed 11"
    ).split()
    data_args, training_args = parser.parse_args_into_dataclasses(args=argv)
    set_seed(training_args.seed)

    raw = DatasetDict({"train": stories(data_args.n_train, 0), "validation": stories(data_args.n_eval, 1), "test": stories(data_args.n_eval, 2)})
    tokenizer = get_tokenizer(raw["train"]["document"][:] + raw["train"]["summary"][:])

    config = T5Config(
        vocab_size=len(tokenizer), d_model=32, d_kv=8, d_ff=64, num_layers=2, num_decoder_layers=2, num_heads=4, dropout_rate=0.1,
        pad_token_id=0, eos_token_id=1, decoder_start_token_id=0,
    )
    model = T5ForConditionalGeneration(config)

    if training_args.label_smoothing_factor > 0 and not hasattr(model, "prepare_decoder_input_ids_from_labels"):
        logger.warning("label_smoothing is enabled but the model has no prepare_decoder_input_ids_from_labels")

    def preprocess_function(examples):
        inputs = [data_args.source_prefix + doc for doc in examples["document"]]
        model_inputs = tokenizer(inputs, max_length=data_args.max_source_length, truncation=True)
        labels = tokenizer(text_target=examples["summary"], max_length=data_args.max_target_length, truncation=True)
        model_inputs["labels"] = labels["input_ids"]
        return model_inputs

    column_names = raw["train"].column_names
    tokenized = raw.map(preprocess_function, batched=True, remove_columns=column_names)

    label_pad_token_id = -100 if data_args.ignore_pad_token_for_loss else tokenizer.pad_token_id
    data_collator = DataCollatorForSeq2Seq(tokenizer, model=model, label_pad_token_id=label_pad_token_id)

    def postprocess_text(preds, labels):
        return [p.strip() for p in preds], [l.strip() for l in labels]

    def compute_metrics(eval_preds):
        preds, labels = eval_preds
        if isinstance(preds, tuple):
            preds = preds[0]
        # Replace -100s used for padding as we can't decode them
        preds = np.where(preds != -100, preds, tokenizer.pad_token_id)
        decoded_preds = tokenizer.batch_decode(preds, skip_special_tokens=True)
        labels = np.where(labels != -100, labels, tokenizer.pad_token_id)
        decoded_labels = tokenizer.batch_decode(labels, skip_special_tokens=True)
        decoded_preds, decoded_labels = postprocess_text(decoded_preds, decoded_labels)
        overlap = []
        for p, l in zip(decoded_preds, decoded_labels):
            p, l = set(p.split()), set(l.split())
            overlap.append(2 * len(p & l) / max(len(p) + len(l), 1))
        prediction_lens = [np.count_nonzero(pred != tokenizer.pad_token_id) for pred in preds]
        return {"unigram_f1": round(100 * float(np.mean(overlap)), 4), "gen_len": float(np.mean(prediction_lens))}

    trainer = Seq2SeqTrainer(
        model=model,
        args=training_args,
        train_dataset=tokenized["train"] if training_args.do_train else None,
        eval_dataset=tokenized["validation"] if training_args.do_eval else None,
        processing_class=tokenizer,
        data_collator=data_collator,
        compute_metrics=compute_metrics if training_args.predict_with_generate else None,
    )

    if training_args.do_train:
        train_result = trainer.train()
        trainer.save_model()
        trainer.log_metrics("train", train_result.metrics)
        trainer.save_metrics("train", train_result.metrics)
        trainer.save_state()

    if training_args.do_eval:
        metrics = trainer.evaluate(max_length=12, num_beams=1, metric_key_prefix="eval")
        trainer.log_metrics("eval", metrics)

    if training_args.do_predict:
        predict_results = trainer.predict(tokenized["test"], metric_key_prefix="predict")
        trainer.log_metrics("predict", predict_results.metrics)
        if trainer.is_world_process_zero() and training_args.predict_with_generate:
            predictions = np.where(predict_results.predictions != -100, predict_results.predictions, tokenizer.pad_token_id)
            predictions = tokenizer.batch_decode(predictions, skip_special_tokens=True)
            with open(f"{training_args.output_dir}/generated_predictions.txt", "w") as writer:
                writer.write("\n".join(p.strip() for p in predictions))


if __name__ == "__main__":
    main()
