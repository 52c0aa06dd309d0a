"""Options, environments, machines and output folders."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.proofs.odd.inputs import ROWS, Make, Odd, file, handled, options, refused, table
from benchmarks.proofs.odd.running import run

BEST = ("--load-best-model-at-end", "--eval-strategy", "steps", "--save-strategy", "steps")


def after_an_out_of_memory(folder: Path) -> list[str]:
    """A run that was interrupted, and continues with smaller evaluation batches."""
    run(["--save-strategy", "epoch", "--output-dir", str(folder / "run")])
    (folder / "run/model.safetensors").unlink()
    return ["--save-strategy", "epoch", "--per-device-eval-batch-size", "2", "--resume-from-checkpoint", "last"]


def student_files(**files: str) -> Make:
    """Files of the student in the current folder."""

    def make(folder: Path) -> list[str]:
        for name, content in files.items():
            path = folder / f"{name.replace('.', '/')}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(content)
        return []

    return make


def wrong(description: str, arguments: str, expected: str, origin: str = "", **more: Any) -> Odd:
    """Options that are refused, separated by blanks."""
    return refused(description, options(*arguments.split()), expected, origin, **more)


def output_folder(prepare: Callable[[Path], object]) -> Make:
    """An output folder that cannot be used for a run."""

    def make(folder: Path) -> list[str]:
        prepare(folder / "out")
        return ["--output-dir", str(folder / "out")]

    return make


def a_file_within(path: Path) -> None:
    """A folder with a user's file."""
    path.mkdir()
    (path / "thesis.tex").write_text("three years of work")


SETTINGS = (
    # What people are used to
    wrong(
        "torch.compile without a compiler",
        "--torch-compile",
        "--torch-compile needs a C++ compiler",
        "pytorch/pytorch/issues/92745",
        environment={"CXX": "no-such-compiler"},
    ),
    wrong(
        "accelerate's environment asks for 16 bits",
        "",
        "ACCELERATE_MIXED_PRECISION=bf16",
        "huggingface/transformers/issues/29510",
        environment={"ACCELERATE_MIXED_PRECISION": "bf16"},
    ),
    wrong(
        "WORLD_SIZE left in the environment",
        "",
        "WORLD_SIZE=4 without",
        "mit-han-lab/distrifuser/issues/11",
        environment={"WORLD_SIZE": "4", "RANK": "0"},
    ),
    wrong(
        "a home that cannot be written",
        "",
        "set SAMELOOP_CACHE to a folder you own",
        "oobabooga/textgen/issues/5457",
        environment={"SAMELOOP_CACHE": "/proc/sameloop"},
    ),
    handled("`--learning_rate`, as scripts spell it", options("--learning_rate", "1e-3")),
    wrong(
        "`evaluation_strategy`",
        "--evaluation_strategy epoch",
        "it is called --eval-strategy",
        "huggingface/course/issues/987",
    ),
    wrong("`no_cuda`", "--no-cuda", "it is called --use-cpu", "huggingface/transformers/pull/24863"),
    wrong(
        "`group_by_length`",
        "--group-by-length",
        "it is called --train-sampling-strategy group_by_length",
        "huggingface/transformers/pull/43138",
    ),
    wrong("`warmup_ratio`", "--warmup-ratio 0.1", "it is called --warmup-steps", "huggingface/peft/issues/2949"),
    wrong(
        "a polynomial schedule that would have to rise",
        "--lr-scheduler-type polynomial --learning-rate 1e-7",
        "polynomial falls to 1e-07 and must start above it",
        "keras-team/keras/issues/18747",
    ),
    handled(
        "`load_best_model_at_end` with more evaluations than checkpoints",
        options(*BEST, "--eval-steps", "1", "--save-steps", "3", "--train-size", "40"),
        origin="huggingface/transformers/issues/12315",
    ),
    handled(
        "going on with smaller evaluation batches after an out-of-memory",
        after_an_out_of_memory,
        "evaluations in batches of 2 from here on, of 8 before",
        "huggingface/transformers/issues/17089",
    ),
    handled(
        "a shared folder that refuses fsync",
        options("--save-strategy", "epoch"),
        origin="untitaker/python-atomicwrites/issues/27",
        raising=(os, "fsync", OSError(errno.EINVAL, "Invalid argument")),
    ),
    handled(
        "a `datasets.py` and a `shared` folder of the student's where one stands",
        student_files(
            **{"datasets": "raise SystemExit('mine')", "shared.__init__": "", "shared.config": "raise SystemExit"}
        ),
        origin="huggingface/datasets/issues/6553",
        alone=True,
    ),
    handled(
        "files called random.py, json.py, queue.py, token.py and typing.py where one stands",
        student_files(
            **dict.fromkeys(("random", "json", "queue", "token", "typing", "torch"), "raise SystemExit('mine')")
        ),
        origin="numpy/numpy/issues/16198",
        alone=True,
    ),
    handled(
        "a C locale, and reviews with emoji",
        file("reviews.csv", table([(f"😀 {text}", word) for text, word in ROWS])),
        origin="docker-library/python/issues/13",
        environment={"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        alone=True,
    ),
    # Wrong settings
    wrong("unknown preset", "--preset huge", "no preset 'huge': choose one of tiny, small, quick, fast, lesson, full"),
    wrong("unknown setting", "--learning-rat 1", "--learning-rat"),
    wrong("no value", "--learning-rate", "--learning-rate"),
    wrong("an argument too many", "please", "please"),
    wrong("not a number", "--learning-rate fast", "--learning-rate fast: input should be a valid number"),
    wrong("NaN", "--learning-rate nan", "--learning-rate nan: input should be a finite number"),
    wrong("infinite", "--weight-decay 1e999", "--weight-decay … finite"),
    wrong("infinite, as a word", "--learning-rate inf", "--learning-rate inf: input should be a finite number"),
    wrong("no learning rate", "--learning-rate 0", "--learning-rate 0: input should be greater than 0"),
    wrong("not whole", "--train-size 2.5", "--train-size 2.5 … integer"),
    wrong("zero", "--train-size 0", "--train-size 0 … greater than"),
    wrong("negative", "--eval-size -3", "--eval-size -3"),
    wrong("negative, to train on", "--train-size -5", "--train-size -5"),
    wrong("nothing to evaluate on", "--eval-size 0", "--eval-size 0"),
    wrong("one token", "--max-length 1", "--max-length 1"),
    wrong("no epoch", "--num-train-epochs 0", "--num-train-epochs 0"),
    wrong("empty batches", "--per-device-train-batch-size 0", "--per-device-train-batch-size 0"),
    wrong("a clip below nothing", "--max-grad-norm -1", "--max-grad-norm -1"),
    wrong("an average of nothing new", "--adam-beta1 1", "--adam-beta1 1"),
    wrong("nothing but smoothing", "--label-smoothing-factor 1", "--label-smoothing-factor 1"),
    wrong("seed too small", "--seed -1", "--seed -1"),
    wrong("seed too large", f"--seed {2**32}", "--seed 4294967296 … less than"),
    wrong("no such schedule", "--lr-scheduler-type warmup", "--lr-scheduler-type warmup … cosine"),
    wrong(
        "a schedule without what it cannot do without",
        "--lr-scheduler-type warmup_stable_decay",
        "--lr-scheduler-type warmup_stable_decay … add --lr-scheduler-kwargs … num_decay_steps",
    ),
    wrong(
        "a schedule's arguments that are no JSON",
        "--lr-scheduler-type cosine --lr-scheduler-kwargs {num_cycles:2}",
        "--lr-scheduler-kwargs {num_cycles:2} … not a JSON object … write it as",
    ),
    wrong(
        "a list for a schedule's arguments",
        "--lr-scheduler-type cosine --lr-scheduler-kwargs [2]",
        "--lr-scheduler-kwargs [2] … not a JSON object … write it as",
    ),
    wrong(
        "arguments of another schedule",
        '--lr-scheduler-type cosine --lr-scheduler-kwargs {"power":2}',
        "--lr-scheduler-kwargs power: cosine takes num_cycles",
    ),
    wrong(
        "a schedule's argument in words",
        '--lr-scheduler-type cosine_with_restarts --lr-scheduler-kwargs {"num_cycles":"two"}',
        '--lr-scheduler-kwargs num_cycles "two": input should be a valid number',
    ),
    wrong(
        "a schedule that would divide by zero",
        '--lr-scheduler-type inverse_sqrt --lr-scheduler-kwargs {"timescale":0}',
        "--lr-scheduler-kwargs timescale 0: input should be greater than",
    ),
    wrong(
        "two ends of one schedule",
        '--lr-scheduler-type cosine_with_min_lr --lr-scheduler-kwargs {"min_lr":0,"min_lr_rate":0}',
        "min_lr and min_lr_rate exclude each other … choose one",
    ),
    wrong(
        "a schedule that ends above its beginning",
        '--lr-scheduler-type polynomial --lr-scheduler-kwargs {"lr_end":1}',
        "--learning-rate … polynomial falls to 1 and must start above it",
    ),
    wrong(
        "a schedule without what it follows", "--lr-scheduler-type greedy --eval-strategy no", "follows the evaluation"
    ),
    wrong(
        "a schedule without a step after its warmup",
        "--lr-scheduler-type polynomial --warmup-steps 7 --max-steps 7",
        "needs a step after it",
    ),
    wrong("no such optimizer", "--optim adam", "--optim adam … adamw_torch"),
    wrong("eval_steps without steps", "--eval-steps 5", "--eval-steps 5 needs --eval-strategy steps"),
    wrong("no steps at all", "--max-steps 0", "--max-steps 0: nothing to do … give a number of steps"),
    wrong("bf16 and fp16", "--bf16 --fp16", "--bf16 and --fp16 exclude each other … choose one"),
    wrong("fp16 without a GPU", "--fp16 --use-cpu", "--fp16 needs a GPU … use --bf16"),
    wrong(
        "best without checkpoints",
        "--load-best-model-at-end",
        "--load-best-model-at-end needs a checkpoint … must be the same",
    ),
    wrong(
        "early stopping without the best weights",
        "--early-stopping-patience 2",
        "needs --load-best-model-at-end",
    ),
    wrong(
        "early stopping in the middle of an epoch that logs at its end",
        f"{' '.join(BEST)} --eval-steps 5 --save-steps 5 --early-stopping-patience 2",
        "add --logging-strategy steps, or no",
    ),
    wrong(
        "best with other steps",
        " ".join([*BEST, "--save-steps 5 --eval-steps 2"]),
        "--save-steps 5 must be a multiple of the 2 steps",
    ),
    wrong("metric without a use", "--metric-for-best-model accuracy", "no effect without --load-best"),
    wrong("no batch left", "--dataloader-drop-last --train-size 7", "leaves no batch … raise --train-size"),
    wrong("no batch left to evaluate", "--dataloader-drop-last --eval-size 7", "leaves no batch"),
    wrong("more tokens than it takes", "--max-length 513", "--max-length 513 … 512 tokens at most"),
    refused("no name at all", options("--dataset", ""), "--dataset"),
    wrong("more than there is", "--train-size 9000", "has only 8530 examples"),
    wrong("nothing to resume", "--resume-from-checkpoint last", "no whole checkpoint … start without it"),
    wrong("no such checkpoint", "--resume-from-checkpoint runs/nowhere", "no such checkpoint … give `last`"),
    wrong("a folder that cannot be", "--output-dir /proc/nothing", "cannot be written … name another folder"),
    # Output folders
    refused(
        "a file in place of the folder", output_folder(lambda path: path.write_text("mine")), "a file is in the way"
    ),
    refused(
        "a folder with other files", output_folder(a_file_within), "not a SameLoop run … name a new or empty folder"
    ),
)
