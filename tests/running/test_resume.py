"""A run that was cut off and resumed is the run that was never stopped: exactly, in both loops."""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import LOOPS, Trained, lines_said, ran, run_in_process, stopping_after, tree

from benchmarks.cli import main
from benchmarks.proofs.crash import kill_and_resume, report
from benchmarks.verdict.verdict import compare_runs
from shared.config import RunConfig
from shared.errors import LossNotFinite, SameLoopError, TrainingStopped
from shared.files import digest_of_file
from shared.recording.record import RunRecord
from shared.running import checkpoints
from shared.running.checkpoints import MANIFEST, in_order, problem_with
from shared.running.folder import is_finished
from shared.running.script import package_script
from shared.starting.launch import Family, launch

# Three epochs of 4 steps, the last batch short; a checkpoint after every step, all of them kept.
SETTINGS = {"train_size": 29, "eval_size": 11, "num_train_epochs": 3}
KEEPING_ALL = {"save_strategy": "steps", "save_total_limit": None}
COMBINATIONS = {
    "plain": {},
    "accumulation": {"gradient_accumulation_steps": 3, "logging_strategy": "steps", "logging_steps": 2},
    "group_by_length": {"train_sampling_strategy": "group_by_length", "data_seed": 7},
    "bf16": {"bf16": True, "label_smoothing_factor": 0.1},
    "workers": {"dataloader_num_workers": 2, "train_sampling_strategy": "group_by_length", "num_train_epochs": 2},
    "plateau": {
        "lr_scheduler_type": "reduce_lr_on_plateau",
        "lr_scheduler_kwargs": {"mode": "max", "patience": 0},
        "optim": "adafactor",
    },
    "max_steps": {"max_steps": 7, "logging_strategy": "steps", "logging_steps": 3},
    "best": {
        "load_best_model_at_end": True,
        "metric_for_best_model": "accuracy",
        "eval_strategy": "steps",
        "eval_steps": 2,
        "learning_rate": 0.02,
    },
    # At this rate the first evaluation is the best: it stops after the third, at step 6 of 12.
    "early stopping": {
        "load_best_model_at_end": True,
        "metric_for_best_model": "accuracy",
        "eval_strategy": "steps",
        "eval_steps": 2,
        "logging_strategy": "no",
        "learning_rate": 0.02,
        "early_stopping_patience": 2,
    },
}


def cut_off(whole: Path, copy: Path, untouched: int = 0) -> Path:
    """A copy of a finished run with its checkpoints, as if it had been killed during the final save.

    Args:
        whole: the run.
        copy: the copy.
        untouched: checkpoints up to this step are not written to, and so share their files with the run's.
    """

    shared = {checkpoint for checkpoint in in_order(whole) if checkpoints.step_of(checkpoint) <= untouched}

    def take(source: str, target: str) -> None:
        (os.link if Path(source).parent in shared else shutil.copy2)(source, target)

    shutil.copytree(whole, copy, copy_function=take)
    (copy / "model.safetensors").unlink()
    return copy


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("settings", COMBINATIONS.values(), ids=COMBINATIONS)
def test_resumed_equals_never_stopped(settings: dict, loop: str, trained: Trained, tmp_path: Path) -> None:
    """From the middle of an epoch, from its end, and from the very last step."""
    config = RunConfig.build("tiny", **{**SETTINGS, **KEEPING_ALL, "save_steps": 2, **settings})
    per_epoch = config.steps_per_epoch()
    config = config.model_copy(update={"save_steps": per_epoch // 2})
    whole = trained(loop, config)
    last = checkpoints.step_of(in_order(whole)[-1])
    assert (last < config.total_steps()) == (config.early_stopping_patience is not None)
    for step in sorted({per_epoch // 2 * 2, per_epoch // 2 * 3, last}):
        folder = cut_off(whole, tmp_path / f"from-{step}", untouched=step)
        run_in_process(loop, config, folder, resume_from_checkpoint=str(folder / f"checkpoint-{step}"))
        comparison = compare_runs(whole, folder)
        assert comparison["first_divergence"] is None, step
        assert set(comparison["max_abs_diff"].values()) <= {0.0}
        record = RunRecord.read(folder)
        assert [line["step"] for line in record.resumes] == [step]
        assert record.footer["samples"] == RunRecord.read(whole).footer["samples"]


def test_both_loops_with_checkpoints_are_one(trained: Trained) -> None:
    """Saving disturbs nothing: with and without, in the manual loop and through Trainer, the run is the same."""
    plain = RunConfig.build("tiny", **SETTINGS)
    saving = RunConfig.build("tiny", **SETTINGS, **KEEPING_ALL, save_steps=2)
    runs = {
        (loop, name): trained(loop, config)
        for loop in LOOPS
        for name, config in (("plain", plain), ("saving", saving))
    }
    weights = {digest_of_file(folder / "model.safetensors") for folder in runs.values()}
    assert len(weights) == 1
    assert compare_runs(runs["manual", "saving"], runs["trainer", "saving"])["verdict"] == "identical"
    # Also every checkpoint holds the same weights, whichever loop made it.
    for step in (2, 4, 6, 12):
        ours, theirs = (runs[loop, "saving"] / f"checkpoint-{step}" / "model.safetensors" for loop in LOOPS)
        assert digest_of_file(ours) == digest_of_file(theirs)


SEVERAL_PROCESSES = """
import importlib, shutil, sys
from pathlib import Path
import torch
from shared.config import RunConfig
from shared.running.script import package_script
from shared.running.run import run_loop
folder, config = Path(sys.argv[1]), RunConfig.build("tiny", **eval(sys.argv[2]))
torch.distributed.init_process_group("gloo")
for loop in ("manual", "trainer"):
    script = package_script(loop, importlib.import_module(f"{loop}_loop.train"))
    run_loop(loop, script, config, folder / loop)
    for step in (2, 3):
        resumed = folder / f"{loop}-{step}"
        if torch.distributed.get_rank() == 0:
            shutil.copytree(folder / loop, resumed)
            (resumed / "model.safetensors").unlink()
        torch.distributed.barrier()
        checkpoint = str(resumed / f"checkpoint-{step}")
        run_loop(loop, script, config, resumed, resume_from_checkpoint=checkpoint)
        torch.distributed.barrier()
"""


@pytest.mark.slow
def test_three_processes_resume(tmp_path: Path) -> None:
    """With accumulation: at an epoch's end, and in the middle of a later one. About 20 seconds.

    Of two processes the order in which their gradients are added makes no difference, of three it does.
    """
    settings = {**SETTINGS, **KEEPING_ALL, "train_size": 61, "gradient_accumulation_steps": 2, "save_steps": 1}
    assert launch([sys.executable, "-c", SEVERAL_PROCESSES, str(tmp_path), repr(settings)], nproc_per_node=3) == 0
    for loop in LOOPS:
        for step in (2, 3):
            comparison = compare_runs(tmp_path / loop, tmp_path / f"{loop}-{step}")
            assert comparison["first_divergence"] is None, (loop, step)
            assert comparison["environment"]["world_size"] == 3


@pytest.mark.parametrize("loop", LOOPS)
def test_settings_that_change_no_number_may_change(loop: str, trained: Trained, tmp_path: Path, capfd) -> None:
    """After an out-of-memory in the evaluation one goes on with smaller batches there."""
    config = RunConfig.build("tiny", **SETTINGS, **KEEPING_ALL, save_steps=2)
    whole = trained(loop, config)
    folder = cut_off(whole, tmp_path / "other")
    others = {"dataloader_num_workers": 2, "save_strategy": "epoch", "save_total_limit": 1}
    other = config.model_copy(update={**others, "per_device_eval_batch_size": 2})
    run_in_process(loop, other, folder, resume_from_checkpoint=str(folder / "checkpoint-6"))
    assert "evaluations in batches of 2 from here on, of 8 before" in capfd.readouterr().err
    first = compare_runs(whole, folder)["first_divergence"]
    assert first is None or first["quantity"].startswith("eval"), first
    assert digest_of_file(folder / "model.safetensors") == digest_of_file(whole / "model.safetensors")
    numbers = RunConfig.build("tiny", **SETTINGS, **KEEPING_ALL, save_steps=2, learning_rate=0.1)
    with pytest.raises(SameLoopError, match=r"made with other settings .--learning-rate"):
        run_in_process(loop, numbers, cut_off(whole, tmp_path / "no"), resume_from_checkpoint="last")
    best = RunConfig.build("tiny", **SETTINGS, save_strategy="epoch", load_best_model_at_end=True)
    assert best.other_numbers(best.model_copy(update={"save_steps": 7})) == {"save_steps": (500, 7)}


# Damage -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checkpointed(trained: Trained) -> dict[str, Path]:
    """Each loop's finished run with checkpoints after steps 3, 6 and 8."""
    return {loop: trained(loop, CONFIG) for loop in LOOPS}


EVERY_THIRD_STEP = ["--preset", "tiny", "--num-train-epochs", "1", "--save-strategy", "steps", "--save-steps", "3"]
CONFIG = RunConfig.build("tiny", num_train_epochs=1, save_strategy="steps", save_steps=3, save_total_limit=None)


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "killed while writing": (lambda c: (c / MANIFEST).unlink(), "its writing was cut short"),
    "weights cut short": (lambda c: os.truncate(c / "model.safetensors", 5000), "model.safetensors is cut short"),
    "a bit flipped": (lambda c: flip_a_bit(c / "optimizer.pt"), "optimizer.pt is damaged"),
    "a file gone": (lambda c: (c / "scheduler.pt").unlink(), "scheduler.pt is missing"),
    "manifest cut short": (lambda c: os.truncate(c / MANIFEST, 100), "manifest.json is damaged"),
}


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(("damage", "said"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_checkpoint_is_passed_over(
    damage, said: str, loop: str, checkpointed, tmp_path: Path, capfd
) -> None:
    folder = cut_off(checkpointed[loop], tmp_path / "run")
    damage(folder / "checkpoint-8")
    with pytest.raises(SameLoopError, match=f"not whole .{said}"):
        run_in_process(loop, CONFIG, folder, resume_from_checkpoint=str(folder / "checkpoint-8"))
    capfd.readouterr()
    run_in_process(loop, CONFIG, folder, resume_from_checkpoint="last")
    said_on_the_way = capfd.readouterr().err
    assert f"checkpoint-8 is not whole ({said}): skipped" in said_on_the_way
    assert f"resuming from {folder / 'checkpoint-6'}" in said_on_the_way
    assert compare_runs(checkpointed[loop], folder)["first_divergence"] is None
    assert problem_with(folder / "checkpoint-8") is None


def test_other_settings_are_refused_with_what_differs(checkpointed, tmp_path: Path, refusal) -> None:
    folder = cut_off(checkpointed["manual"], tmp_path / "run")
    before = tree(folder)
    options = [*EVERY_THIRD_STEP, "--save-total-limit", "none"]
    wrong = ["--learning-rate", "0.5", "--seed", "1", "--resume-from-checkpoint", str(folder / "checkpoint-6")]
    line = refusal("manual", *options, *wrong)
    assert "made with other settings (--learning-rate 0.001, not 0.5; --seed 42, not 1)" in line
    code = package_script("manual").code
    with pytest.raises(SameLoopError, match="1 processes, not 2"):
        checkpoints.find(folder, "last", CONFIG, 2, code)
    with pytest.raises(SameLoopError, match="belongs to another run; give --output-dir"):
        checkpoints.find(tmp_path, str(folder / "checkpoint-6"), CONFIG, 1, code)
    assert tree(folder) == before


def test_a_finished_run_has_nothing_to_resume(checkpointed, capfd) -> None:
    folder = checkpointed["manual"]
    before = (folder / "record.jsonl").read_bytes()
    run_in_process("manual", CONFIG, folder, resume_from_checkpoint="last")
    assert "is complete: nothing to resume" in capfd.readouterr().err
    assert (folder / "record.jsonl").read_bytes() == before


def test_other_versions_are_said(checkpointed, tmp_path: Path, capfd) -> None:
    folder = cut_off(checkpointed["manual"], tmp_path / "run")
    record = folder / "record.jsonl"
    version = RunRecord.read(folder).header["environment"]["torch"]
    record.write_text(record.read_text().replace(f'"torch": "{version}"', '"torch": "1.0"', 1))
    run_in_process("manual", CONFIG, folder, resume_from_checkpoint="last")
    assert f"begun with torch 1.0, now {version}" in capfd.readouterr().err


def test_a_run_that_can_be_resumed_is_not_overwritten(checkpointed, tmp_path: Path) -> None:
    folder = cut_off(checkpointed["manual"], tmp_path / "run")
    with pytest.raises(SameLoopError, match="resume with --resume-from-checkpoint last, or start again"):
        run_in_process("manual", CONFIG, folder)
    assert in_order(folder)
    run_in_process("manual", CONFIG, folder, overwrite=True)
    assert is_finished(folder)
    assert not RunRecord.read(folder).resumes


def test_a_record_that_is_too_short_is_refused(checkpointed, tmp_path: Path) -> None:
    folder = cut_off(checkpointed["manual"], tmp_path / "run")
    lines = (folder / "record.jsonl").read_text().splitlines(keepends=True)
    (folder / "record.jsonl").write_text("".join(lines[:4]))
    with pytest.raises(SameLoopError, match="does not reach step 8"):
        run_in_process("manual", CONFIG, folder, resume_from_checkpoint="last")
    assert in_order(folder)


@pytest.mark.parametrize("loop", LOOPS)
def test_old_checkpoints_go_when_the_new_one_is_whole(loop: str, tmp_path: Path, monkeypatch) -> None:
    problems = []
    rotate = checkpoints.rotate

    def watch(output_dir: Path, *args) -> None:
        problems.append([problem_with(path) for path in in_order(output_dir)])
        rotate(output_dir, *args)

    module = "manual_loop.checkpoint" if loop == "manual" else "trainer_loop.callbacks"
    monkeypatch.setattr(f"{module}.rotate", watch)
    config = RunConfig.build("tiny", num_train_epochs=1, save_strategy="steps", save_steps=2, save_total_limit=2)
    run_in_process(loop, config, tmp_path / "run")
    assert [path.name for path in in_order(tmp_path / "run")] == ["checkpoint-6", "checkpoint-8"]
    assert [len(kept) for kept in problems] == [1, 2, 3, 3]
    assert all(problem is None for kept in problems for problem in kept)


def test_a_checkpoint_loads_as_a_model_and_holds_no_pickled_code(checkpointed) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    for folder in checkpointed.values():
        checkpoint = folder / "checkpoint-6"
        assert AutoModelForSequenceClassification.from_pretrained(checkpoint).config.num_labels == 2
        assert len(AutoTokenizer.from_pretrained(checkpoint)) > 30_000
        # Trainer's own rng_state.pth holds a numpy array, and training_args.bin an object: we load neither.
        theirs = {"rng_state.pth", "training_args.bin"} if folder is checkpointed["trainer"] else set()
        for path in checkpoint.iterdir():
            if path.suffix in (".pt", ".pth", ".bin") and path.name not in theirs:
                torch.load(path, weights_only=True)


# Trouble on the way -------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("accumulation", [1, 3])
def test_a_loss_that_is_no_number_stops_the_run(loop: str, accumulation: int, tmp_path: Path) -> None:
    config = RunConfig.build(
        "tiny",
        optim="sgd",
        learning_rate=1e30,
        max_grad_norm=0,
        gradient_accumulation_steps=accumulation,
        lr_scheduler_type="constant",
    )
    with pytest.raises(
        LossNotFinite, match=r"step 2: the training loss is (nan|inf) at learning rate 1e\+30.*Try a lower"
    ):
        run_in_process(loop, config, tmp_path / "run")
    (step,) = RunRecord.read(tmp_path / "run").steps
    assert math.isfinite(step["loss"])


LIMITED = """
import importlib, resource, sys
from pathlib import Path
from benchmarks.cli import main
from shared.sources import embedded
embedded.checkpoint("embedded-tiny")
loop = sys.argv[1]
importlib.import_module(f"{loop}_loop.train")
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
sys.exit(main([loop, "--preset", "tiny", *sys.argv[3:]]))
"""
# The largest file that may be written, in bytes, as if the disk were full after that: too little for the record, for
# the weights, for the optimizer's two averages of them.
LIMITS = {"record": 2000, "weights": 1_000_000, "optimizer": 5_000_000}


# Each on one loop; on the other, too, with the slow tests.
OTHERS = pytest.mark.slow


@pytest.mark.parametrize(
    ("what", "loop"),
    [
        ("record", "trainer"),
        ("weights", "manual"),
        ("optimizer", "trainer"),
        pytest.param("record", "manual", marks=OTHERS),
        pytest.param("weights", "trainer", marks=OTHERS),
        pytest.param("optimizer", "manual", marks=OTHERS),
    ],
)
def test_a_full_disk_is_one_line_and_loses_nothing(what: str, loop: str, tmp_path: Path) -> None:
    """About 5 seconds each. First two steps with room enough, then the rest without."""
    folder = tmp_path / "run"
    strategy = {"record": "no", "weights": "no", "optimizer": "steps"}[what]
    options = ["--save-strategy", strategy, "--save-steps", "3", "--output-dir", str(folder)]
    finished = ran(sys.executable, "-c", LIMITED, loop, str(LIMITS[what]), *options)
    assert finished.returncode == 2, finished.stderr
    (line,) = lines_said(finished.stderr)
    assert "sameloop: error: cannot write to" in line
    assert "make room there, then start again" in line
    assert [path for path in in_order(folder) if problem_with(path) is None] == []


@pytest.mark.parametrize("loop", LOOPS)
def test_a_disk_that_fills_up_keeps_the_older_checkpoint(
    loop: str, trained: Trained, tmp_path: Path, monkeypatch
) -> None:
    """The second checkpoint cannot be written: the first stays, and the run goes on from there later."""
    config = RunConfig.build("tiny", num_train_epochs=1, save_strategy="steps", save_steps=3, save_total_limit=1)
    save, calls = torch.save, []

    def full(content, path, *args, **kwargs) -> None:
        calls.append(path)
        if "checkpoint-6" in str(path) and "rng_state" in str(path):
            raise OSError(28, "No space left on device")
        save(content, path, *args, **kwargs)

    whole = trained(loop, config)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        with pytest.raises(TrainingStopped, match=r"No space left on device.*--resume-from-checkpoint last"):
            run_in_process(loop, config, tmp_path / "run")
    assert problem_with(tmp_path / "run/checkpoint-3") is None
    run_in_process(loop, config, tmp_path / "run", resume_from_checkpoint="last")
    assert compare_runs(whole, tmp_path / "run")["first_divergence"] is None


@pytest.mark.slow
@pytest.mark.parametrize("loop", LOOPS)
def test_killed_and_resumed(loop: str, trained: Trained, tmp_path: Path) -> None:
    """One real SIGKILL per loop, about 12 seconds; `make crash-test` does 20 of each."""
    import random

    from benchmarks.proofs.crash import SETTINGS as CRASH_SETTINGS

    config = RunConfig.build("tiny", **CRASH_SETTINGS)
    whole = trained(loop, config)
    with Family() as family:
        kill = kill_and_resume(family, loop, whole, 1.0, tmp_path / "run", random.Random(3))
    assert kill.difference is None
    assert "1 of 1 runs end with" in report([kill], 60)


def test_a_comparison_goes_on_where_it_was_cut_off(tmp_path: Path, capfd) -> None:
    """The first loop is done, the second stopped after step 3: only the rest of that is run. About 7 seconds."""
    config = RunConfig.build("tiny", num_train_epochs=1, save_strategy="steps", save_steps=3)
    run = tmp_path / "run"
    run_in_process("manual", config, run / "manual")
    first = (run / "manual/record.jsonl").read_bytes()
    with stopping_after("trainer", 3):
        run_in_process("trainer", config, run / "trainer")
    capfd.readouterr()
    options = [*EVERY_THIRD_STEP, "--no-report", "--output-dir", str(run)]
    assert main(["compare", *options]) == 0
    errors = capfd.readouterr().err
    assert f"it is done already, in {run / 'manual'}" in errors
    assert "resuming from" in errors
    assert (run / "manual/record.jsonl").read_bytes() == first
    assert json.loads((run / "comparison.json").read_text())["verdict"] == "identical"
    assert [line["step"] for line in RunRecord.read(run / "trainer").resumes] == [3]
