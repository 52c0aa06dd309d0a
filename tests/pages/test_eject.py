"""Ejected scripts: nothing in them that is off, and the same weights as `Trainer`'s, bit for bit."""

from __future__ import annotations

import ast
import csv
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import run_in_process
from ruff.__main__ import find_ruff_bin  # here in every release
from safetensors.torch import load_file

from benchmarks.cli import main
from benchmarks.pages.costs import is_in_the_loop
from benchmarks.pages.eject import eject
from benchmarks.proofs.documents import PLAIN, examples
from benchmarks.proofs.parity import UNEVEN, ejected_difference
from benchmarks.runs import run_in_fresh_process
from benchmarks.verdict.verdict import compare_runs
from shared.config import RunConfig
from shared.errors import SameLoopError
from shared.model import load_model, load_tokenizer
from shared.releases import CHANGED_DEFAULTS
from shared.running.run import run_loop
from shared.running.script import own_script

WORDS = ("bad", "fair", "good")
FIVE: dict[str, tuple[dict[str, Any], int]] = {
    "defaults": (PLAIN, 1),
    "accumulation and bf16": ({"gradient_accumulation_steps": 4, "bf16": True, **PLAIN}, 1),
    "cosine": (
        {
            "lr_scheduler_type": "cosine",
            "warmup_steps": 0.1,
            "weight_decay": 0.01,
            "label_smoothing_factor": 0.1,
            **PLAIN,
        },
        1,
    ),
    "length groups with checkpoints": ({"train_sampling_strategy": "group_by_length", "save_strategy": "epoch"}, 1),
    "two processes": (PLAIN, 2),
}


@pytest.fixture(scope="module")
def scripts() -> dict[str, str]:
    return {name: eject(RunConfig.build("quick", **settings), "manual", n) for name, (settings, n) in FIVE.items()}


# What is in them ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FIVE)
def test_it_passes_ruff_and_reads_no_config(name: str, scripts: dict[str, str]) -> None:
    for rules in ([], ["--select", "F,E4,E7,E9,I,RET505,SIM,PLR5501"]):
        command = [find_ruff_bin(), "check", "--isolated", *rules, "--stdin-filename", "my_loop.py", "-"]
        checked = subprocess.run(command, input=scripts[name], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stdout
    names = {node.id for node in ast.walk(ast.parse(scripts[name])) if isinstance(node, ast.Name)}
    assert "config" not in names
    assert not re.search(r"\bif (True|False|None|not)\b(?! step_ends)", scripts[name])


def test_at_the_quick_presets_settings_it_is_short(scripts: dict[str, str]) -> None:
    assert len(scripts["defaults"].splitlines()) <= 112


@pytest.mark.parametrize(
    ("off", "words"),
    [
        (
            "defaults",
            "autocast|accumulat|Scaler|smooth|Group|checkpoint-|warmup|decayed|distributed|compile|enumerate|rank",
        ),
        ("accumulation and bf16", "Scaler|smooth|Group|checkpoint-|warmup|decayed|distributed|compile|rank"),
        ("cosine", "autocast|Scaler|LengthGroup|checkpoint-|distributed|torch.compile|LambdaLR|rank"),
        (
            "length groups with checkpoints",
            "autocast|Scaler|smooth|warmup|decayed|distributed|compile|RandomSampler|best",
        ),
        ("two processes", "autocast|Scaler|smooth|LengthGroup|checkpoint-|warmup|decayed|compile|no_sync"),
    ],
)
def test_nothing_of_a_setting_that_is_off_is_in_it(off: str, words: str, scripts: dict[str, str]) -> None:
    code = "\n".join(
        line.partition("  # ")[0] for line in scripts[off].splitlines() if not line.strip().startswith("#")
    )
    assert not re.findall(rf"\w*(?:{words})\w*", code.partition('"""\n\n')[2])


def test_of_a_setting_that_is_on_everything_is_in_it(scripts: dict[str, str]) -> None:
    for name, pieces in {
        "accumulation and bf16": ("number % 4 == 0", "torch.autocast(device.type, torch.bfloat16)"),
        "cosine": ('get_scheduler("cosine", optimizer, warmup, max_steps)', "math.ceil(0.1 * max_steps)", "0.01"),
        "length groups with checkpoints": ("class LengthGroupedSampler", "checkpoint-{step}", "shutil.rmtree"),
        "two processes": ("DistributedDataParallel(model)", "init_process_group", "class EveryNthBatch"),
    }.items():
        for piece in pieces:
            assert piece in scripts[name], (name, piece)


def test_every_comment_of_a_block_has_its_block(scripts: dict[str, str]) -> None:
    for source in scripts.values():
        lines = [line.strip() for line in source.splitlines()]
        for line, after in zip(lines, [*lines[1:], ""], strict=True):
            if re.match(r"# [A-Z][a-z ]+:", line):
                assert after and not re.match(r"# [A-Z][a-z ]+:|return\b", after), line


def test_the_other_side_has_only_arguments_that_are_no_defaults() -> None:
    from transformers import TrainingArguments

    source = eject(RunConfig.build("quick", gradient_accumulation_steps=4, **PLAIN), "trainer")
    (call,) = (
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "TrainingArguments"
    )
    passed = {word.arg: ast.literal_eval(word.value) for word in call.keywords}
    assert passed == {
        "output_dir": "my_loop",
        "optim": "adamw_torch_fused",
        "learning_rate": 1e-4,
        "num_train_epochs": 2.0,
        "gradient_accumulation_steps": 4,
        "report_to": "none",
        "logging_strategy": "epoch",
        "eval_strategy": "epoch",
        "save_strategy": "no",
    }
    defaults = TrainingArguments()
    unneeded = {name for name, value in passed.items() if name in CHANGED_DEFAULTS or value == getattr(defaults, name)}
    assert unneeded == set(CHANGED_DEFAULTS)
    # The remedy stands where it has something to mend, and only there.
    assert "accepts_loss_kwargs = False" in source
    assert "accepts_loss_kwargs" not in eject(RunConfig.build("quick", **PLAIN), "trainer")


# What they do -------------------------------------------------------------------------------------


def weights_of_scripts(sources: dict[Path, str]) -> list[dict[str, torch.Tensor]]:
    """Run scripts alone, as `python my_loop.py`, each in its folder, and take the weights they leave."""
    running = []
    for folder, source in sources.items():
        (folder / "my_loop.py").write_text(source)
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        running.append(subprocess.Popen([sys.executable, "my_loop.py"], cwd=folder, **options))
    for process in running:
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output[-2000:]
    return [load_file(folder / "my_loop" / "model.safetensors") for folder in sources]


@pytest.mark.slow
def test_both_scripts_run_alone_and_end_alike(tmp_path: Path) -> None:
    """Half a minute. With data and model loaded by themselves: what they spell out is what SameLoop loads."""
    config = RunConfig.build("tiny", **UNEVEN, gradient_accumulation_steps=3, logging_strategy="no", **PLAIN)
    trainer = load_file(run_in_process("trainer", config, tmp_path / "run") / "model.safetensors")
    sources = {tmp_path / loop: eject(config, loop) for loop in ("manual", "trainer")}
    for folder in sources:
        folder.mkdir()
    for weights in weights_of_scripts(sources):
        assert weights.keys() == trainer.keys()
        assert all(torch.equal(weights[name], trainer[name]) for name in trainer)


def test_the_other_sides_script_ends_with_the_trainers_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It saves where it runs.
    monkeypatch.chdir(tmp_path)
    config = RunConfig.build("tiny", **UNEVEN, gradient_accumulation_steps=3, bf16=True, weight_decay=0.1, **PLAIN)
    (tmp_path / "my_trainer.py").write_text(eject(config, "trainer", file=tmp_path / "my_trainer.py"))
    own = config.model_copy(update={"loop": str(tmp_path / "my_trainer.py")})
    run_loop("manual", own_script(tmp_path / "my_trainer.py"), own, tmp_path / "ejected")
    run_in_process("trainer", config, tmp_path / "trainer")
    weights, expected = (load_file(tmp_path / folder / "model.safetensors") for folder in ("ejected", "trainer"))
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


@pytest.mark.parametrize("loop", ["manual", "accelerate"])
def test_a_schedules_own_arguments_are_in_the_script_that_ends_with_the_trainers_weights(
    loop: str, tmp_path: Path
) -> None:
    schedule = {"lr_scheduler_type": "polynomial", "lr_scheduler_kwargs": {"power": 2.0}}
    config = RunConfig.build("tiny", **UNEVEN, **schedule, **PLAIN)
    assert '{"power": 2.0}' in eject(config, loop) and '{"power": 2.0}' in eject(config, "trainer", release=(4, 40))
    assert ejected_difference(config, tmp_path, loop=loop) == ""


def test_a_local_file_with_words_for_labels_and_a_model_are_spelled_out(tmp_path: Path) -> None:
    rows = [(f"review {n}, quite {WORDS[n % 3]}", WORDS[n % 3]) for n in range(60)]
    with (tmp_path / "own.csv").open("w", newline="") as file:
        csv.writer(file, delimiter=";").writerows([("Review", "sentiment"), *rows])
    first = RunConfig.build("tiny")
    load_model(first, sorted(WORDS)).save_pretrained(tmp_path / "model")
    load_tokenizer(first).save_pretrained(tmp_path / "model")
    sources = {"dataset": str(tmp_path / "own.csv"), "model": str(tmp_path / "model")}
    config = RunConfig.build("tiny", train_size=20, eval_size=9, **sources, **PLAIN)
    source = eject(config)
    assert "shared" not in source and "sameloop compare --loop" in source
    assert (
        'sep=";"' in source and '{"Review": "text", "sentiment": "label"}' in source and " is not None" not in source
    )
    expected = load_file(run_in_process("trainer", config, tmp_path / "run") / "model.safetensors")
    (weights,) = weights_of_scripts({tmp_path: source})
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    names = [json.loads((tmp_path / folder / "config.json").read_text())["id2label"] for folder in ("run", "my_loop")]
    assert names[0] == names[1] == dict(zip("012", sorted(WORDS), strict=True))


def test_what_datasets_reads_otherwise_is_not_ejected(tmp_path: Path) -> None:
    rows = [("None" if n == 7 else f"review {n}", "ab"[n % 2]) for n in range(60)]
    (tmp_path / "own.csv").write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows))
    config = RunConfig.build("tiny", train_size=20, eval_size=9, dataset=str(tmp_path / "own.csv"), **PLAIN)
    with pytest.raises(SameLoopError, match=r"does not read it as it is .* save it as Parquet"):
        eject(config)


@pytest.mark.slow
def test_a_script_of_two_processes_ends_with_the_trainers_weights(tmp_path: Path) -> None:
    """Half a minute: both sides start two processes each."""
    config = RunConfig.build("tiny", **UNEVEN, gradient_accumulation_steps=2, **PLAIN)
    (tmp_path / "my_loop.py").write_text(eject(config, world_size=2))
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "my_loop.py"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    assert ran.returncode == 0, ran.stderr[-2000:]
    run_in_fresh_process("trainer", config, tmp_path / "trainer", 2)
    weights, expected = (load_file(tmp_path / folder / "model.safetensors") for folder in ("my_loop", "trainer"))
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


@pytest.mark.slow
@pytest.mark.parametrize("loop", ["manual", "trainer"])
def test_the_script_of_every_setting_passes_ruff_in_88_columns(loop: str) -> None:
    """A minute: every setting of the loop with each of its other values."""
    for name in filter(is_in_the_loop, RunConfig.model_fields):
        for settings in examples(name):
            source = eject(RunConfig.build("quick", **{**PLAIN, **settings}), loop)
            command = [find_ruff_bin(), "check", "--isolated", "--stdin-filename", "my_loop.py", "-"]
            checked = subprocess.run(command, input=source, capture_output=True, text=True, check=False)
            assert checked.returncode == 0, (settings, checked.stdout)
            assert max(map(len, source.splitlines())) <= 88, settings


def test_an_edited_script_is_a_loop_that_is_judged(tmp_path: Path) -> None:
    config = RunConfig.build("tiny", **UNEVEN, **PLAIN)
    source = eject(config, file=tmp_path / "my_loop.py")
    line = "            optimizer.zero_grad()  # Zero: or the next gradients are added to these.\n"
    assert source.count(line) == 1
    (tmp_path / "my_loop.py").write_text(source.replace(line, ""))
    assert own_script(tmp_path / "my_loop.py").is_own
    own = config.model_copy(update={"loop": str(tmp_path / "my_loop.py")})
    run_loop("manual", own_script(tmp_path / "my_loop.py"), own, tmp_path / "manual")
    first = compare_runs(tmp_path / "manual", run_in_process("trainer", config, tmp_path / "trainer"))[
        "first_divergence"
    ]
    assert first["quantity"] == "grad_norm" and "zero_grad() is missing" in first["likely_cause"]


# What is refused ----------------------------------------------------------------------------------


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    file = tmp_path / "my_loop.py"
    assert main(["eject", "--preset", "tiny", "-o", str(file)]) == 0
    written = file.read_text()
    assert 'save_pretrained("my_loop")' in written
    assert main(["eject", "--preset", "tiny", "--seed", "7", "-o", str(file)]) == 2
    assert "exists already; it stays as it is" in capsys.readouterr().err
    assert file.read_text() == written
    assert main(["eject", "-o", str(tmp_path / "none" / "x.py")]) == 2
    assert "cannot write" in capsys.readouterr().err
    assert main(["eject", "--accelerate", "-o", str(tmp_path / "accelerate.py")]) == 2
    assert "would import itself" in capsys.readouterr().err and not (tmp_path / "accelerate.py").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--loop", "mine.py"], "--loop mine.py: eject writes a loop itself"),
        (["--dataset", "nowhere.csv"], "--dataset nowhere.csv: there is no such file"),
        (["--max-steps", "0"], "--max-steps 0"),
        (["--nproc-per-node", "0"], "nproc-per-node"),
    ],
)
def test_what_cannot_be_ejected_is_said_in_one_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture
) -> None:
    assert main(["eject", *arguments]) == 2
    err = capsys.readouterr().err
    assert said in err and "Traceback" not in err


def test_a_line_that_cannot_be_folded_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.pages import eject as module

    script = module.package_script("manual")
    edited = script.edited("    set_seed(config.seed)\n    data_seed", "    set_seed(config)\n    data_seed")
    monkeypatch.setattr(module, "package_script", lambda loop: edited)
    with pytest.raises(SameLoopError, match=r"eject cannot specialize this line of the loop.*set_seed\(config\)"):
        eject(RunConfig.build("tiny", **PLAIN))
