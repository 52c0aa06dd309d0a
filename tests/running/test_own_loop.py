"""Loops of one's own: what a file must be, what is done around a plain `train`, and whose mistake an error is."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from conftest import lines_said, run_in_process
from safetensors.torch import load_file

from benchmarks.cli import main
from benchmarks.lesson.xray import script_frame, xray
from benchmarks.runs import run_in_fresh_process
from shared.config import RunConfig
from shared.errors import SameLoopError, ScriptError
from shared.recording.record import RunRecord
from shared.running.binding import MUST
from shared.running.script import kept_script, own_script, package_script, script_of, train_of

CONFIG = RunConfig.build("tiny")
# What stands in a tutorial. Right but for its style: it equals the full loop, bit for bit.
PLAIN = """
import math
import torch
from batches import loaders
from torch.nn.utils import clip_grad_norm_

def train(model, tokenizer, train_dataset, eval_dataset, config):
    torch.manual_seed(config.seed)
    shuffle = torch.Generator()
    train_loader, eval_loader = loaders(tokenizer, train_dataset, eval_dataset, shuffle, config)
    decayed = [p for n, p in model.named_parameters() if not ("bias" in n or "layer_norm" in n.lower())]
    other = [p for n, p in model.named_parameters() if "bias" in n or "layer_norm" in n.lower()]
    groups = [{"params": decayed}, {"params": other}]
    optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, weight_decay=0.0, fused=True)
    steps = len(train_loader) * int(config.num_train_epochs)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: max(0.0, (steps - step) / steps))
    log = []
    for epoch in range(int(config.num_train_epochs)):
        shuffle.manual_seed(config.seed + epoch)
        for batch in train_loader:
            model.train()
            loss = model(**batch).loss
            loss.backward()
            clip_grad_norm_(model.parameters(), config.max_grad_norm)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        model.eval()
        with torch.no_grad():
            losses = [model(**batch).loss for batch in eval_loader]
        log.append({"eval_loss": torch.stack(losses).mean()})
    return log
"""
HELPER = """
from torch.utils.data import DataLoader, RandomSampler
from transformers import DataCollatorWithPadding

def loaders(tokenizer, train_dataset, eval_dataset, shuffle, config):
    options = {"batch_size": config.per_device_train_batch_size, "collate_fn": DataCollatorWithPadding(tokenizer)}
    sampler = RandomSampler(train_dataset, generator=shuffle)
    return DataLoader(train_dataset, sampler=sampler, **options), DataLoader(eval_dataset, **options)
"""


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A plain loop in two files."""
    (tmp_path / "batches.py").write_text(HELPER)
    (tmp_path / "my_loop.py").write_text(PLAIN)
    return tmp_path / "my_loop.py"


def config_of(file: Path, **settings: object) -> RunConfig:
    return RunConfig.build("tiny", loop=str(file), **settings)


def run(file: Path, folder: Path, **settings: object) -> Path:
    config = config_of(file, **settings)
    return run_in_process("manual", config, folder, script=script_of("manual", config))


# What runs ----------------------------------------------------------------------------------------


def test_a_plain_loop_in_two_files_equals_the_page_and_is_kept_whole(plain: Path, tmp_path: Path, tiny_runs) -> None:
    folder = run(plain, tmp_path / "run", num_train_epochs=2)
    ours, theirs = (load_file(run_dir / "model.safetensors") for run_dir in (folder, tiny_runs["trainer"]))
    assert ours.keys() == theirs.keys() and all(ours[name].equal(theirs[name]) for name in ours)
    record = RunRecord.read(folder)
    script = kept_script(folder)
    assert record.header["code"] == script.code == own_script(plain).code
    assert script.code["page"] == "my_loop.py" and sorted(script.files) == ["batches.py", "my_loop.py"]
    assert record.config.loop == str(plain)
    # The helper counts: with another one it is another page.
    (plain.parent / "batches.py").write_text(HELPER + "\n# changed")
    assert own_script(plain).code["digest"] != script.code["digest"]
    assert "batches" not in sys.modules and str(plain.parent) not in sys.path


def test_log_lines_without_a_step_get_that_of_the_evaluation_seen(plain: Path, tmp_path: Path, capsys) -> None:
    arguments = ["manual", "--preset", "tiny", "--num-train-epochs", "2", "--loop", str(plain)]
    assert main([*arguments, "--output-dir", str(tmp_path / "run")]) == 0
    record = RunRecord.read(tmp_path / "run")
    assert [(line["step"], line["epoch"]) for line in record.log_history] == [(8, 1), (16, 2)]
    assert all(isinstance(line["eval_loss"], float) for line in record.log_history)
    printed = capsys.readouterr().out
    assert f"{record.log_history[1]['eval_loss']:.6f}" in printed and "   16 " in printed


def test_the_pages_own_signature_and_nothing_returned(tmp_path: Path, capsys) -> None:
    """A copy of the package's page, its log kept to itself."""
    file = tmp_path / "my_loop.py"
    file.write_text(package_script("manual").edited("    return state.log_history\n", "").source)
    assert main(["manual", "--preset", "tiny", "--loop", str(file), "--output-dir", str(tmp_path / "run")]) == 0
    assert RunRecord.read(tmp_path / "run").log_history == []
    # The helper modules that it imports from the package are part of the page.
    assert {"my_loop.py", "manual_loop/checkpoint.py"} <= kept_script(tmp_path / "run").files.keys()
    assert "Training Loss" in capsys.readouterr().out


def test_a_folder_that_is_called_like_a_file_is_none(plain: Path) -> None:
    (plain.parent / "helpers" / "bad.py").mkdir(parents=True)
    (plain.parent / "helpers" / "good.py").write_text("")
    plain.write_text("import helpers.good\n" + PLAIN)
    assert sorted(own_script(plain).files) == ["batches.py", "helpers/good.py", "my_loop.py"]


def test_a_helper_takes_no_installed_modules_place(plain: Path, tmp_path: Path) -> None:
    for name in ("datasets", "json", "shared", "torch"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('in its place')")
    file = plain
    file.write_text("import datasets, json, shared\n" + PLAIN)
    assert sorted(own_script(file).files) == ["batches.py", "my_loop.py"]
    run(file, tmp_path / "run")


def test_the_trainer_is_started_without_it(plain: Path, tmp_path: Path, refusal) -> None:
    assert "takes the place of the manual loop" in refusal("trainer", "--preset", "tiny", "--loop", str(plain))
    # A run of the manual loop and one through Trainer do not differ by it.
    assert config_of(plain).differences(CONFIG) == {}
    assert RunConfig.build(**config_of(plain).model_dump()).loop == str(plain)


# What a file must be ------------------------------------------------------------------------------

WRONG = {
    "no file": (None, "it cannot be read"),
    "a syntax error": (
        "def train(config):\n    print(\n",
        "line 2: SyntaxError: '(' was never closed (print()",
    ),
    "no Python": ("\0", "my_loop.py"),
    "no train": (
        "def fit(): ...\nclass A:\n    def train(self): ...\n",
        "my_loop.py binds no function `train`: a loop's file",
    ),
    "too few": ("def train(config): ...\n", f"train(config) cannot be called: {MUST}"),
    "too many": ("def train(a, b, c, d, e, f): ...\n", "cannot be called"),
    "another order": ("def train(config, model, tokenizer, train_dataset, eval_dataset): ...\n", "cannot be called"),
    "keywords only": ("def train(*, config, output_dir, checkpoint=None): ...\n", "cannot be called"),
    "a broken helper": (
        "import helper\ndef train(config, output_dir, checkpoint): ...\n",
        "helper.py, line 1: SyntaxError",
    ),
}


@pytest.mark.parametrize(("source", "says"), WRONG.values(), ids=WRONG)
def test_what_is_no_page_is_said_in_one_line_before_anything_runs(source, says: str, tmp_path: Path, capfd) -> None:
    (tmp_path / "helper.py").write_text("def (\n")
    if source is not None:
        (tmp_path / "my_loop.py").write_text(source)
    options = ["--preset", "tiny", "--loop", str(tmp_path / "my_loop.py"), "--output-dir", str(tmp_path / "run")]
    for command in ("compare", "manual"):
        assert main([command, *options]) == 2
        captured = capfd.readouterr()
        (line,) = lines_said(captured.err)
        assert line.startswith("sameloop: error: ") and says in line and "report" not in line
        assert "importing" not in captured.err
    assert main(["diff", "--loop", str(tmp_path / "my_loop.py")]) == 2
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("signature", "is_plain"),
    [
        ("config, output_dir, checkpoint=None", False),
        ("cfg, out, ckpt", False),
        ("config, folder, checkpoint=None, *, verbose=False", False),
        ("model, tokenizer, train_dataset, eval_dataset, config", True),
        ("m, tok, train_ds, eval_ds, cfg, verbose=False", True),
        ("model, tok, train_ds, eval_ds, cfg", True),
    ],
)
def test_both_signatures_are_told_by_names_and_number(signature: str, is_plain: bool, tmp_path: Path) -> None:
    (tmp_path / "my_loop.py").write_text(
        f"def made():\n    def train({signature}): ...\n    return train\ntrain = made()"
    )
    script = own_script(tmp_path / "my_loop.py")
    with script.loaded() as module:
        assert train_of(module, script)[1] is is_plain


def test_a_wrong_signature_that_only_shows_when_it_is_imported(tmp_path: Path) -> None:
    (tmp_path / "my_loop.py").write_text("train = lambda config: None\n")
    with pytest.raises(ScriptError, match="cannot be called"):
        run(tmp_path / "my_loop.py", tmp_path / "run")
    assert not (tmp_path / "run").exists()


RETURNED = {
    "a number": ("return 0.5", "a list of log lines, as [{'eval_loss': 0.6}], or nothing, not float '0.5'"),
    "no dictionaries": ("return [0.5]", "or nothing, not list '[0.5]'"),
    "no numbers": ("return [{'eval_loss': [1]}]", "a line in which eval_loss is of type list"),
}


@pytest.mark.parametrize(("last", "says"), RETURNED.values(), ids=RETURNED)
def test_what_it_returns_is_checked(last: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "my_loop.py").write_text(
        f"def train(model, tokenizer, train_dataset, eval_dataset, config):\n    {last}"
    )
    with pytest.raises(ScriptError) as caught:
        run(tmp_path / "my_loop.py", tmp_path / "run")
    assert says in str(caught.value) and str(caught.value).startswith("my_loop.py: ")


def test_a_loop_that_saves_no_model(tmp_path: Path) -> None:
    (tmp_path / "my_loop.py").write_text("def train(config, output_dir, checkpoint=None): ...\n")
    with pytest.raises(ScriptError, match=r"my_loop.py: the function train saved no model.*save_pretrained"):
        run(tmp_path / "my_loop.py", tmp_path / "run")


# Whose mistake ------------------------------------------------------------------------------------


def mistakes_of(change: tuple[str, str], tmp_path: Path) -> str:
    """What is said of the package's page with something replaced in it."""
    with pytest.raises(ScriptError) as caught:
        run_in_process("manual", CONFIG, tmp_path / "run", script=package_script("manual").edited(*change))
    assert not (tmp_path / "run").exists()
    return str(caught.value)


def test_a_name_error_on_the_page_is_its_writers(tmp_path: Path) -> None:
    script = package_script("manual")
    clip = next(line for line in script.source.splitlines(keepends=True) if "clip_grad_norm_(" in line)
    message = mistakes_of((clip, ""), tmp_path)
    text = script.edited(clip, "").source.splitlines()
    number, line = next((n, line) for n, line in enumerate(text, start=1) if "log_training(state, grad_norm" in line)
    assert message == f"your loop, line {number}: NameError: name 'grad_norm' is not defined ({line.strip()})"


def test_a_column_that_is_not_there_is_named_with_those_that_are(plain: Path, tmp_path: Path) -> None:
    plain.write_text(PLAIN.replace("    torch.manual", "    train_dataset[0]['text']\n    torch.manual", 1))
    with pytest.raises(ScriptError) as caught:
        run(plain, tmp_path / "run")
    assert "KeyError: 'text'; the columns of the datasets are labels, input_ids, attention_mask" in str(caught.value)


def test_an_exception_elsewhere_is_not_the_packages_pages(tmp_path: Path) -> None:
    """But of a file's, if it passed through the file."""
    right, wrong = "model.to(device)\n", "model.to('nowhere')\n"
    with pytest.raises(RuntimeError, match="nowhere"):
        run_in_process("manual", CONFIG, tmp_path / "a", script=package_script("manual").edited(right, wrong))
    (tmp_path / "my_loop.py").write_text(package_script("manual").edited(right, wrong).source)
    with pytest.raises(
        ScriptError, match=r"my_loop.py, line \d+: RuntimeError: .*nowhere.* \(model.to\('nowhere'\)\)"
    ):
        run(tmp_path / "my_loop.py", tmp_path / "b")


@pytest.mark.parametrize("loop", ["manual", "trainer"])
def test_a_syntax_error_in_a_page_that_is_imported(loop: str, tmp_path: Path) -> None:
    script = package_script(loop)
    line = script.source.count("\n", 0, script.source.index("    set_seed(config.seed)\n")) + 1
    script = script.edited(
        "weights are random.\n    set_seed(config.seed)\n", "weights are random.\n    set_seed(config.seed))\n"
    )
    with pytest.raises(ScriptError) as caught:
        run_in_process(loop, CONFIG, tmp_path / "run", script=script)
    name = {"manual": "your loop", "trainer": "trainer_loop/train.py"}[loop]
    assert str(caught.value) == f"{name}, line {line}: SyntaxError: unmatched ')' (set_seed(config.seed)))"


def test_an_import_that_fails_and_a_page_that_ends_the_process(tmp_path: Path) -> None:
    message = mistakes_of(("import math\n", "import math\nimport no_such_module\n"), tmp_path)
    assert "ModuleNotFoundError: No module named 'no_such_module' (import no_such_module)" in message
    message = mistakes_of(("    # Data: load", "    raise SystemExit\n    # Data: load"), tmp_path)
    assert message.startswith("your loop, line ") and "it ends the process before the run is done" in message


def test_a_mistake_in_the_instruments_is_ours(plain: Path, tmp_path: Path, monkeypatch) -> None:
    def broken(*args: object) -> None:
        raise KeyError("input_ids")

    monkeypatch.setattr("shared.running.script.INSTRUMENTS", (broken.__code__.co_filename,))
    monkeypatch.setattr("shared.recording.recorder.rng_digests", broken)
    with pytest.raises(KeyError):
        run(plain, tmp_path / "run")


def test_one_line_and_status_2_and_the_traceback_with_debug(plain: Path, tmp_path: Path, capfd) -> None:
    plain.write_text(PLAIN.replace("schedule.step()", "scheduler.step()"))
    options = ["manual", "--preset", "tiny", "--loop", str(plain), "--output-dir", str(tmp_path / "run")]
    for debug in ([], ["--debug"]):
        assert main([*options, *debug]) == 2
        lines = lines_said(capfd.readouterr().err)
        assert "my_loop.py, line 26: NameError: name 'scheduler' is not defined" in lines[-1]
        assert lines[-1].endswith("(scheduler.step())") and "report" not in lines[-1]
        assert (len(lines) > 1) == bool(debug)


def test_a_process_that_ends_without_a_word(tmp_path: Path, capfd) -> None:
    """`os._exit(0)`, in a process of its own: while it is imported, before any record is begun."""
    source = "import os\nos._exit(0)\ndef train(config, output_dir, checkpoint=None): ...\n"
    (tmp_path / "my_loop.py").write_text(source)
    with pytest.raises(SameLoopError, match="the manual loop ended its process before it was done"):
        run_in_fresh_process("manual", config_of(tmp_path / "my_loop.py"), tmp_path / "run")


# X-ray --------------------------------------------------------------------------------------------


def test_any_page_has_its_xray_with_less_in_it_if_must_be(plain: Path) -> None:
    result = xray(config_of(plain))
    assert result.script == "my_loop.py"
    phases = {pair.manual.phase for pair in result.pairs if pair.manual}
    # A clip that was imported by its name is seen, and what is done around a plain loop.
    assert {"data", "model", "seed", "forward", "backward", "clip", "step", "zero", "schedule step", "save"} <= phases
    clip = next(pair for pair in result.pairs if pair.manual and pair.manual.phase == "clip")
    frame = script_frame(clip.manual, result.script)
    assert frame.file == "my_loop.py" and frame.code == PLAIN.splitlines()[frame.line - 1].strip()
    assert clip.trainer is not None
    # What happens before the loop is called is on no line of it.
    load = next(pair for pair in result.pairs if pair.manual and pair.manual.phase == "model")
    assert script_frame(load.manual, result.script) is None
    assert [frame.file for frame in load.manual.frames] == ["shared/running/plain.py"]


def test_the_xray_names_the_file(plain: Path, capsys) -> None:
    assert main(["xray", "--preset", "tiny", "--loop", str(plain)]) in (0, 1)
    assert "manual my_loop.py:" in " ".join(capsys.readouterr().out.split())


def test_a_page_that_raises_while_it_is_traced_is_one_line(plain: Path, refusal) -> None:
    plain.write_text(PLAIN.replace("schedule.step()", "scheduler.step()"))
    assert "my_loop.py, line 26: NameError" in refusal("xray", "--preset", "tiny", "--loop", str(plain))


def test_diff_shows_the_file(plain: Path, capsys) -> None:
    assert main(["diff", "--loop", str(plain)]) == 0
    printed = capsys.readouterr().out
    assert "my_loop.py" in printed and "manual_loop/train.py" not in printed.splitlines()[2]
