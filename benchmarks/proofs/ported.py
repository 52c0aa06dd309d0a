"""Trainer scripts as people write them, each compared with its loop: `make ported-table` writes docs/ported.md.

Each script of `tests/scripts/` is compared with the loop that is written for it, that loop is run by itself, and one
mistake is put into it, which must be found. Where no loop can be written, the error message says why.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.port.compare import run_side, words_for
from benchmarks.port.side import Script, Side
from benchmarks.proofs.measuring import DOCS, page, write_table
from benchmarks.verdict.verdict import compare_runs
from shared.errors import Interrupted, SameLoopError
from shared.recording.record import RunRecord
from shared.starting.children import ROOT, child_environment, sameloop_argv

SCRIPTS = ROOT / "tests" / "scripts"


class Case(NamedTuple):
    """One script.

    Attributes:
        file: its name in `SCRIPTS`.
        description: what it is, in a few words.
        right, wrong: a piece of its loop and the mistake that replaces it; empty: no loop can be written.
        expected: what must be found for the mistake: a finding's code, or its topic; without a loop, a word that the
            error message must contain.
        arguments: the script's own.
    """

    file: str
    description: str
    right: str
    wrong: str
    expected: str
    arguments: tuple[str, ...] = ()


GLUE = "--output_dir out --do_train --do_eval --eval_strategy epoch --learning_rate 1e-3 --num_train_epochs 2"
TRAIN_MODE = "model.train()  # Train mode: dropout on."
CASES = (
    Case("glue_style.py", "text classification, HfArgumentParser", TRAIN_MODE, "pass", "mode", tuple(GLUE.split())),
    Case("ner_style.py", "token classification, f1", '"weight_decay": 0.0', '"weight_decay": 0.3', "optimizer"),
    Case(
        "mlm_style.py",
        "masked language modelling, words masked again",
        "one_ahead(train_loader)",
        "train_loader",
        "rng",
    ),
    Case(
        "clm_style.py",
        "causal language modelling, own arguments",
        '["labels"].ne(-100)',
        '["labels"][..., 1:].ne(-100)',
        "forward_losses",
        ("--block_size", "16", "--accumulate", "4"),
    ),
    Case("swag_style.py", "multiple choice, own collator", "manual_seed(42 + epoch)", "manual_seed(42)", "shuffle"),
    Case("regression.py", "regression, best model by rmse", "metric < best_metric", "metric > best_metric", "weights"),
    Case("pairs.py", "pairs of sentences, best model by f1", "step % 4 == 0", "step % 5 == 0", "evaluate"),
    Case("multi_label.py", "several labels, torch Dataset", ".repeat(size)", ".repeat(1)", "evaluate.mean_of_means"),
    Case("plain_module.py", "an nn.Module, SGD", "loss / len(batches)", "loss / 3", "loss"),
    Case("autoencoder.py", "an nn.Module without labels", "model.zero_grad()", "pass", "zero"),
    Case(
        "weighted.py",
        "class weights in a subclass, early stopping",
        "loss.backward()",
        "(loss / 4).backward()",
        "loss",
    ),
    Case("early_stopping.py", "early stopping, nothing seeded", "worse >= 2", "worse >= 3", "step.number"),
    Case("own_callback.py", "a callback, frozen embeddings, own data_seed", "7 + epoch", "123 + epoch", "shuffle"),
    Case("loss_function.py", "compute_loss_func", "num_items_in_batch=num_items", "num_items_in_batch=None", "loss"),
    Case("notebook.ipynb", "a notebook", "scheduler.step()", "pass", "schedule"),
    Case(
        "experiment_class.py",
        "a class, AdamW unfused, clip 0.3",
        "clip_grad_norm_(model.parameters(), 0.3)",
        "clip_grad_norm_(model.parameters(), 3)",
        "clip",
    ),
    Case(
        "factory.py", "a function that builds it, model_init, grouped by length", "epsilon=0.1", "epsilon=0.2", "loss"
    ),
    Case("own_optimizer.py", "optimizers=(own, own)", "model.zero_grad()", "optimizer.zero_grad()", "grad_norm"),
    Case(
        "several_eval_sets.py",
        "two evaluation sets, bf16",
        "model.forward = convert_outputs_to_fp32(autocast(forward))",
        "pass",
        "forward",
    ),
    Case("distillation.py", "a teacher in compute_loss", "* temperature**2", "", "loss"),
    Case(
        "summarization_style.py",
        "Seq2SeqTrainer, T5, Adafactor",
        "size = 4 ",
        "size = len(next(iter(batch.values()))) ",
        "evaluate",
    ),
    Case("qa_style.py", "question answering", "set_seed(42)  #", "set_seed(43)  #", "seed"),
    # Their author knew neither how a script is read nor what is carried over.
    Case(
        "clm_gpt2_grouped.py",
        "GPT-2, three dataclasses of arguments",
        "lr=0.003, fused",
        "lr=0.003, betas=(0.9, 0.99), fused",
        "optimizer",
    ),
    Case("freeze_experiment.py", "a class, frozen layers, two evaluation sets", "(0 + epoch)", "(0)", "shuffle"),
    Case("llama_sft_arith.py", "Llama, prompts masked", "scheduler.step()  # the", "pass  # the", "schedule"),
    Case(
        "multilabel_tickets.py",
        "several labels, a closure as collator",
        "weight_decay=0.0)",
        "weight_decay=0.1)",
        "optimizer",
    ),
    Case("paraphrase_pairs.py", "token types, early stopping, temporary folder", TRAIN_MODE, "pass", "mode"),
    Case("rating_regression.py", "three parameter groups", "set_seed(7)  #", "set_seed(8)  #", "seed"),
    Case("sentiment_bert.py", "at module level, a torch Dataset", "(42 + epoch)", "(41 + epoch)", "shuffle"),
    Case("tabular_mlp.py", "an nn.Module, random_split, max_steps", "model.zero_grad()", "pass", "zero"),
    Case("weighted_spam.py", "a GRU that returns a tuple", "loss.backward()", "(2 * loss).backward()", "loss"),
    Case("adversarial.py", "own training_step", "loss.backward()", "(2 * loss).backward()", "loss"),
    Case("unfreeze.py", "a callback that unfreezes", "", "", "Unfreeze"),
    Case("neftune.py", "neftune_noise_alpha", "", "", "neftune_noise_alpha"),
    Case("lamb_like.py", "own create_optimizer", "NAdam", "RAdam", "optimizer"),
    # Nor did the author of these; what is refused is not carried over into the loop.
    Case(
        "run_classification_hfparser.py",
        "arguments from a JSON file, tokenizer trained in the script",
        "scheduler.step()  # the",
        "pass  # the",
        "schedule",
    ),
    Case("ner_token_classification.py", "token classification, argparse", "lr=0.002", "lr=0.001", "schedule"),
    Case(
        "mlm_domain_adapt.py", "masked LM, evaluated before the training", "(42 + epoch)", "(42)", "batch.not_decided"
    ),
    Case("swag_multiple_choice.py", "multiple choice, best model", TRAIN_MODE, "pass", "mode"),
    Case("qa_extractive.py", "question answering in strides", "model.zero_grad()", "pass", "zero"),
    Case("sts_regression_notebook.py", "pairs, regression, ALBERT", TRAIN_MODE, "pass", "mode"),
    Case("toxic_kaggle.py", "several labels, two folds", "(2021 + epoch)", "(2022 + epoch)", "shuffle"),
    Case(
        "vit_shapes.py", "images that are flipped at random, SGD", "loss.backward()", "(2 * loss).backward()", "loss"
    ),
    Case("weighted_loss_forum.py", "class weights, self.model", "set_seed(42)  #", "set_seed(43)  #", "seed"),
    Case(
        "distill_student.py", "a teacher, arguments of one's own", "weight_decay=0.0", "weight_decay=0.1", "optimizer"
    ),
    Case(
        "tabular_churn.py",
        "an nn.Module, OneCycleLR",
        "clip_grad_norm_(model.parameters(), 1.0)",
        "clip_grad_norm_(model.parameters(), 0.1)",
        "clip",
    ),
    Case("ticket_router.py", "arguments from YAML, model_init, restarts", "(17 + epoch)", "(18 + epoch)", "shuffle"),
    Case(
        "intents_group_by_length.py",
        "grouped by length, checkpointing, accumulation",
        "set_seed(1)  #",
        "set_seed(2)  #",
        "shuffle",
    ),
    Case("balanced_sampler.py", "own get_train_dataloader", "manual_seed(99)", "manual_seed(98)", "shuffle"),
    # A third author's, who was asked for methods of one's own.
    Case("fgm_roberta.py", "own training_step with a state", "fgm.restore()", "pass", "weights"),
    Case(
        "gpt2_curriculum.py", "own _get_train_sampler, evaluate and accumulation", "lr=0.002", "lr=0.001", "schedule"
    ),
    Case(
        "cifarish_onecycle.py",
        "create_optimizer_and_scheduler, which nothing calls",
        "clip_grad_norm_(model.parameters(), 5.0)",
        "clip_grad_norm_(model.parameters(), 0.1)",
        "clip",
    ),
    Case("clm_streaming.py", "a stream of examples", "", "", "stream of examples"),
    Case("summarize_t5_seq2seq.py", "predict_with_generate", "", "", "predict_with_generate"),
    Case("simcse_contrastive.py", "a compute_loss that logs", "loss.backward()", "(2 * loss).backward()", "loss"),
    Case("two_lrs_focal.py", "own create_optimizer", "lr *= opts.lr_decay", "pass", "optimizer"),
    Case("nli_freeze_rdrop.py", "a callback that unfreezes", "", "", "UnfreezeCallback"),
    Case("sft_prompt_masking.py", "a callback that generates", "", "", "SampleCallback"),
)


class Outcome(NamedTuple):
    """The outcome of a case: verdict or error, whether the loop logs the same by itself, and the mistake's finding."""

    verdict: str
    steps: int
    alone: bool
    finding: str
    is_right: bool


def try_case(case: Case, folder: Path) -> Outcome:
    """Try one script, with all files in `folder`, also those that the script itself writes."""
    before = Path.cwd()
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    try:
        return _outcome(case, folder)
    finally:
        os.chdir(before)


def _outcome(case: Case, folder: Path) -> Outcome:
    script = Script(SCRIPTS / case.file, case.arguments)
    if not case.right:
        line = _line_of(script, folder)
        return Outcome(line, 0, False, "", case.expected in line)
    sides = (Side(script, is_ejected=True), Side(script))
    words = words_for(sides, folder)
    for role, side in zip(("manual", "trainer"), sides, strict=True):
        (folder / role).mkdir(parents=True)
        run_side(role, side, folder / role, words)
    comparison = compare_runs(folder / "manual", folder / "trainer")
    loop = folder / "manual" / f"{Path(case.file).stem}_loop.py"
    wrong = folder / "wrong"
    (wrong / "manual").mkdir(parents=True)
    shutil.copytree(folder / "trainer", wrong / "trainer")
    text = loop.read_text(encoding="utf-8")
    assert text.count(case.right) >= 1, (case.file, case.right)
    file = wrong / "my_loop.py"
    file.write_text(text.replace(case.right, case.wrong), encoding="utf-8")
    run_side("manual", Side(script, file), wrong / "manual", words)
    first = compare_runs(wrong / "manual", wrong / "trainer")["first_divergence"]
    code = first["findings"][0]["code"] if first else "nothing"
    finding = f"step {first['step']}, {first['quantity']}: {code}" if first else "nothing"
    is_right = comparison["verdict"] == "identical" and (
        code.startswith(case.expected) or (first or {}).get("quantity") == case.expected
    )
    return Outcome(
        comparison["verdict"], comparison["steps"], alone(loop, script, folder / "trainer"), finding, is_right
    )


def _line_of(script: Script, folder: Path) -> str:
    command = sameloop_argv("compare", "--trainer", str(script.file), "--output-dir", str(folder / "refused"))
    ran = subprocess.run(command, capture_output=True, text=True, check=False, env=child_environment())
    line = next((line for line in ran.stderr.splitlines() if "error:" in line), "")
    return line.removeprefix("sameloop: error: ").replace(f"{SCRIPTS}/", "") if ran.returncode == 2 else ""


def alone(loop: Path, script: Script, trainer: Path) -> bool:
    """Whether a written script, run by itself, logs exactly the numbers that the Trainer has logged."""
    begin = "import os, random, runpy, sys, numpy, torch\nrandom.seed(0), numpy.random.seed(0), torch.manual_seed(0)\n"
    begin += "sys.argv = sys.argv[1:]\nrunpy.run_path(sys.argv[0], run_name='__main__')"
    paths = os.pathsep.join([str(SCRIPTS), str(ROOT)])
    for name in ("data", "vocab.txt"):  # beside the script, where its user would write the loop, too
        (loop.parent / name).symlink_to(SCRIPTS / name)
    environment = {**child_environment(), "PYTHONHASHSEED": "0", "PYTHONPATH": paths}
    command = [sys.executable, "-c", begin, str(loop), *script.arguments]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=loop.parent)
    lines = [line for line in ran.stdout.splitlines() if line.startswith("{") and "'step'" in line]
    own = [eval(line, {"np": np, "nan": float("nan")}) for line in lines]
    record = RunRecord.read(trainer)
    names = ("loss", *record.metric_names)

    def numbers(log: list[dict[str, Any]]) -> list[str]:
        rows = [{name: float(line[name]) for name in sorted(names) if name in line} for line in log]
        return [json.dumps(line) for line in rows if line]

    return ran.returncode == 0 and numbers(own) == numbers(record.log_history)


def document(outcomes: list[Outcome]) -> str:
    """docs/ported.md."""
    pairs = list(zip(CASES, outcomes, strict=True))
    ported = [(case, outcome) for case, outcome in pairs if case.right]
    refused = [outcome for case, outcome in pairs if not case.right]
    columns = ("script", "what it is", "steps", "its loop", "by itself", "in its loop", "the mistake", "found first")
    rows = []
    for case, outcome in pairs:
        alone = "equal" if outcome.alone else "other" if case.right else ""
        row = (case.file, case.description, outcome.steps, outcome.verdict, alone)
        rows.append((*row, case.right.strip(), case.wrong.strip(), outcome.finding))
    write_table("ported", columns, rows)
    return page(
        "ported.md",
        ported=len(ported),
        identical=sum(outcome.verdict == "identical" for _, outcome in ported),
        alone=sum(outcome.alone for _, outcome in ported),
        right=sum(outcome.is_right for _, outcome in ported),
        refused=len(refused),
        right_lines=sum(outcome.is_right for outcome in refused),
    )


def main() -> int:
    outcomes = []
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            try:
                outcome = try_case(case, Path(folder) / case.file)
            except Interrupted:
                raise
            except SameLoopError as error:
                outcome = Outcome(str(error) or "did not finish", 0, False, "", False)
            print(case.file, outcome, flush=True)
            outcomes.append(outcome)
    (DOCS / "ported.md").write_text(document(outcomes), encoding="utf-8")
    return 0 if all(outcome.is_right for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
