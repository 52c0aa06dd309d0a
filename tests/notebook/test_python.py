"""`import sameloop`, the one name for notebooks and scripts, wherever they stand."""

from __future__ import annotations

import ast
import copy
import inspect
import linecache
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest
from matplotlib.figure import Figure

import sameloop
from benchmarks.check.rubric import DIFFERENT, Result, make_rubric
from benchmarks.compare import write_comparison
from benchmarks.judge.finding import Finding
from benchmarks.notebook.source import source_of
from benchmarks.proofs.documents import DOCS, README
from sameloop import SameLoopError

SHADOWS = (
    *("csv", "datasets", "html", "json", "numpy", "pandas", "queue", "random"),
    *("token", "torch", "tqdm", "types", "typing"),
)
SCRIPT = """
import sameloop
record = sameloop.manual(preset="tiny", num_train_epochs=1, output_dir="out")
print("steps:", len(record.steps))
print("shown:", "data:image/svg+xml" in record._repr_html_())
try:
    sameloop.manual(preset="tiny", dataset="missing.csv")
except sameloop.SameLoopError as error:
    print("refused:", error)
"""


def test_whatever_lies_in_the_current_folder(tmp_path: Path) -> None:
    """Files named like what Python, torch and SameLoop import; about 10 seconds."""
    for name in SHADOWS:
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('the student\\'s {name}')")
    (tmp_path / "shared").mkdir()
    for name in ("__init__", "config"):
        (tmp_path / f"shared/{name}.py").write_text("raise SystemExit('the student\\'s shared')")
    environment = {**os.environ, "PYTHONPATH": "", "PYTHONSAFEPATH": ""}
    command = [sys.executable, "-c", SCRIPT]
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-2000:]
    assert "steps: 8" in ran.stdout and "shown: True" in ran.stdout
    assert "refused: --dataset missing.csv: there is no such file or folder" in ran.stdout
    assert (tmp_path / "out/model.safetensors").is_file()


@pytest.mark.slow
def test_a_comparison_from_python(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A minute: both ways of showing how it goes, and a second comparison that keeps Trainer's run."""
    comparison = sameloop.compare(preset="tiny", num_train_epochs=1, output_dir=tmp_path / "out")
    assert (comparison["verdict"], comparison["steps"]) == ("identical", 8)
    printed = capfd.readouterr()
    assert printed.out == "" and "8/8 steps" in printed.err
    assert "identical: all 8 steps" in comparison.output
    again = sameloop.compare(preset="tiny", num_train_epochs=1, output_dir=tmp_path / "out", reuse=True, verbose=True)
    assert again.verdict == "identical"
    assert "it is done already" in capfd.readouterr().out


@pytest.mark.slow
def test_all_that_runs_apart(tmp_path: Path) -> None:
    """Two minutes: each of the other commands once, from Python."""
    script = sameloop.eject(preset="tiny", gradient_accumulation_steps=4)
    assert "number % 4 == 0" in script and "Trainer(" in sameloop.eject(trainer=True, preset="tiny")
    assert "accelerator.backward(loss)" in sameloop.eject(accelerate=True, preset="tiny")
    assert "save_pretrained" in sameloop.eject(preset="tiny", save_strategy="epoch")
    page = (DOCS.parent / "manual_loop/minimal.py").read_text(encoding="utf-8")
    train = _cell(page.replace("            loss.backward()\n", "            loss.backward()\n" * 2))["train"]
    with pytest.raises(SameLoopError, match="there is no such file"):
        sameloop.check(tmp_path / "missing.py")
    assert sameloop.check(page).verdict == "identical"
    assert sameloop.check(train).verdict == "failed"
    trained = sameloop.trainer(tmp_path / "trainer", preset="tiny", train_size=9, eval_size=9)
    assert trained.loop == "trainer" and len(trained.steps) == 4
    xrayed = sameloop.xray(preset="tiny", train_size=9, eval_size=9)
    assert xrayed.equal and "optimizer.step()" in xrayed._repr_html_()
    ladder_run = sameloop.ladder(tmp_path / "ladder", preset="tiny", train_size=9, eval_size=9, order=["clip"])
    assert ladder_run.rows.index[1] == "clip" and ladder_run.rows["where"].iloc[-1] == "identical"
    assert "torch.nn.utils.clip_grad_norm_" in ladder_run._repr_html_()
    assert sameloop.report(tmp_path / "ladder").read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.usefixtures("started_again")
def test_a_package_of_that_name_that_was_imported_before_is_named(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared/__init__.py").touch()
    command = [sys.executable, "-c", "import shared, sameloop"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert "import sameloop first, or rename yours" in ran.stderr


# What comes back ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def comparison(tiny_runs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> sameloop.Comparison:
    """The comparison of the two tiny runs; its folder is gone when the tests look at it."""
    folder = tmp_path_factory.mktemp("python") / "run"
    for loop, path in tiny_runs.items():
        shutil.copytree(path, folder / loop)
    write_comparison(folder)
    comparison = sameloop.Comparison(folder, "what it said")
    shutil.rmtree(folder)
    return comparison


def test_a_comparison_is_a_dictionary_that_shows_itself(comparison: sameloop.Comparison) -> None:
    assert comparison["verdict"] == comparison.verdict == "identical"
    assert dict(comparison) == comparison.as_dict() and len(comparison) == len(list(comparison))
    assert str(comparison).startswith("identical: all 16 steps")
    assert repr(comparison).startswith("<identical") and "\n" not in repr(comparison)
    assert comparison.output == "what it said"
    page = comparison._repr_html_()
    assert '<span class="good">identical</span>: all 16 steps' in page
    assert comparison["remarks"] == []
    loss = f'<td class="number">{comparison["manual"]["train_loss"][0]:.6f}</td>'
    assert f"<td>1</td>{loss}{loss}" in page
    assert page.count("data:image/svg+xml;base64,") == 1 and 'alt="' in page
    assert comparison._repr_png_().startswith(b"\x89PNG")


def test_what_differs_is_shown_with_its_cause_and_nothing_in_it_is_markup(comparison: sameloop.Comparison) -> None:
    other = copy.copy(comparison)
    first = {"step": 2, "quantity": "loss", "manual": 1, "trainer": 2, "likely_cause": "<b>a & b</b>"}
    other._content = {**comparison._content, "verdict": "diverged", "first_divergence": first}
    page = other._repr_html_()
    assert '<span class="bad">diverged</span> at step 2, loss: manual 1, trainer 2' in page
    assert "<p>likely cause: &lt;b&gt;a &amp; b&lt;/b&gt;</p>" in page


def test_its_frames_have_the_records_numbers(comparison: sameloop.Comparison) -> None:
    steps = comparison.steps
    assert list(steps.index) == list(range(1, 17)) and steps.index.name == "step"
    for loop in ("manual", "trainer"):
        record = getattr(comparison, loop).record
        assert list(steps["loss"][loop]) == [line["loss"] for line in record.steps]
        assert list(steps["unclipped_norm"][loop]) == [line["unclipped_norm"] for line in record.steps]
        assert list(comparison.evaluations["eval_loss"][loop]) == comparison[loop]["eval_loss"]
    assert (steps["loss"]["manual"] - steps["loss"]["trainer"]).abs().max() == 0.0
    assert list(steps.columns[:2]) == [("loss", "manual"), ("loss", "trainer")]


def test_a_run_has_its_record_and_frames(comparison: sameloop.Comparison) -> None:
    run = copy.copy(comparison.manual)
    assert (run.loop, run.config.preset, run.header["loop"]) == ("manual", "tiny", "manual")
    assert list(run.steps["epoch"]) == [1] * 8 + [2] * 8
    assert list(run.evaluations.index) == [8, 16]
    assert repr(run).startswith("<manual: 16 steps, the last loss 0.")
    assert run.as_dict()["steps"] == run.record.steps
    assert '<td class="number">0.4828</td>' in run._repr_html_()
    assert not hasattr(run, "no_such_thing")
    # A loop that returns nothing has its evaluations as they were seen.
    run.record.footer["log_history"], log_history = [], run.record.footer["log_history"]
    assert list(run.evaluations["eval_loss"]) == [line["loss"] for line in run.record.evaluations]
    run.record.footer["log_history"] = log_history


def test_figures(comparison: sameloop.Comparison, tiny_runs: dict[str, Path]) -> None:
    figures = {
        "losses": comparison.figure("losses"),
        "overview": sameloop.plot(comparison),
        "time": sameloop.plot(tiny_runs["trainer"], "time", "paper"),
        "difference": sameloop.plot(list(tiny_runs.values()), "difference", "dark"),
    }
    for kind, figure in figures.items():
        assert isinstance(figure, Figure) and figure.axes, kind
    content, about = figures["losses"]._repr_png_()
    assert content.startswith(b"\x89PNG") and "Training loss" in about["alt"]
    for wrong, message in (
        (lambda: comparison.figure("losess"), "there is no chart 'losess': choose one of overview"),
        (lambda: comparison.figure(style="loud"), "there is no style 'loud': choose one of slide"),
        (lambda: comparison.manual.figure("difference"), "a difference takes two runs"),
        (lambda: sameloop.plot("nowhere"), "nowhere: there is no such folder or record"),
    ):
        with pytest.raises(SameLoopError, match=message):
            wrong()


def test_a_script_is_its_text(tmp_path: Path) -> None:
    script = sameloop.Script("import torch\n\nx = '<'\n")
    assert script == "import torch\n\nx = '<'\n" and repr(script).startswith("<a script of 3 lines")
    page = script._repr_html_()
    assert "&lt;" in page and "'<'" not in page and "color: #" in page
    file = script.write(tmp_path / "loop.py")
    assert file.read_text(encoding="utf-8") == script
    with pytest.raises(SameLoopError, match="exists already"):
        script.write(file)
    assert sameloop.start(tmp_path / "mine.py") == (tmp_path / "mine.py").read_text(encoding="utf-8")


def test_a_check_shows_each_phase_with_a_question_where_it_is_wrong() -> None:
    rubric = make_rubric(
        [Finding("clip.missing", 3, "not <clipped>", {"student": "norm 38", "right": "norm 1"})], ["clip", "step"]
    )
    checked = sameloop.CheckResult(Result("a.py", DIFFERENT, rubric, 1, 2.0, output="<hello>").as_dict())
    assert (checked.verdict, checked.failures) == ("different", ["clip"])
    assert checked.phases.loc["clip", "cause"] == "not <clipped>"
    assert repr(checked) == "<different; 1 of 15 points>"
    page = checked._repr_html_()
    assert (
        "step 3: norm 38, right is norm 1: not &lt;clipped&gt;<details><summary>a question</summary>Print the" in page
    )
    assert page.count("a question") == 1 and "<pre>&lt;hello&gt;</pre>" in page
    assert "✓</span></td><td>step</td><td></td>" in page


# A function as a file ------------------------------------------------------------------------------


def _cell(text: str, names: dict[str, Any] | None = None) -> dict[str, Any]:
    """Run a cell of a notebook, as IPython does: its source is known to `linecache`."""
    names = {"__name__": "__main__"} if names is None else names
    name = f"<cell {len(linecache.cache)} {time.monotonic_ns()}>"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    exec(compile(text, name, "exec"), names)
    return names


def test_a_function_of_a_notebook_brings_what_it_uses() -> None:
    names = _cell("import numpy as np\nfrom torch.optim.lr_scheduler import LambdaLR\nLIMIT = 1.5\nOTHER = 2\n")
    _cell("def helper(x):\n    return len(x) + helper(x[1:]) if x else LIMIT\n", names)
    _cell(
        "raised = []\ndef train(model, tokenizer, train_dataset, eval_dataset, config):\n"
        "    inner = lambda: helper([1])\n    return np.float32(inner()), LambdaLR\nraised.append(1 / 1)\n",
        names,
    )
    text = source_of(names["train"])
    assert text.startswith("import numpy as np\nfrom torch.optim.lr_scheduler import LambdaLR\n")
    assert "LIMIT = 1.5" in text and "OTHER" not in text and "raised" not in text
    alone: dict[str, Any] = {}
    exec(text, alone)
    assert alone["train"](*range(5))[0] == 2.5
    # What has a built-in's name is taken along, too.
    assert "return 7" in source_of(_cell("def sum(x):\n    return 7\ndef train():\n    return sum([])\n")["train"])
    # A name that is nowhere stays the loop's own mistake.
    assert "nowhere" in source_of(_cell("def train():\n    return nowhere\n")["train"])


def test_a_function_of_a_file_is_that_file() -> None:
    from manual_loop.minimal import train

    assert source_of(train) == DOCS.parent / "manual_loop/minimal.py"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("class Model: pass\ndef train(): return Model\n", "train uses Model, a class of the notebook"),
        ("data = [1]\ndef train(): return data\n", "train uses data, a list of the notebook"),
        ("def make():\n    a = 1\n    def train(): return a\n    return train\ntrain = make()\n", "inside another"),
        ("def other(): pass\ntrain = other\n", "a function called train, not other"),
        ("train = 3 .bit_length\n", "a function called train, not bit_length"),
        ("def f(): pass\ng = f\ndef train(): return g\n", "g is another name for f"),
    ],
)
def test_what_cannot_come_along_is_said(text: str, message: str) -> None:
    with pytest.raises(SameLoopError, match=message) as raised:
        source_of(_cell(text)["train"])
    assert "\n" not in str(raised.value)


def test_a_function_without_a_source_is_said() -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    exec("def train(): pass", names)
    with pytest.raises(SameLoopError, match="the source of train is not known"):
        source_of(names["train"])


# The docs' examples -------------------------------------------------------------------------------

BLOCKS = [
    block
    for path in (README, DOCS / "python.md")
    for block in re.findall(r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    if "import sameloop" in block
]


def test_the_docs_examples_call_what_is_there() -> None:
    assert BLOCKS
    for block in BLOCKS:
        for node in ast.walk(ast.parse(block)):
            if not (isinstance(node, ast.Call) and getattr(getattr(node.func, "value", None), "id", "") == "sameloop"):
                continue
            function = getattr(sameloop, node.func.attr)
            assert isinstance(function, FunctionType)
            arguments = {keyword.arg: None for keyword in node.keywords}
            bound = inspect.signature(function).bind(*[None] * len(node.args), **arguments)
            for name in bound.kwargs.get("settings", {}):
                assert name in sameloop.RunConfig.model_fields, name


@pytest.mark.slow
def test_the_docs_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two minutes: every block of README and docs/python.md that imports sameloop, in one folder, as tiny."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(DOCS.parent / "manual_loop/minimal.py", "my_loop.py")
    for block in BLOCKS:
        assert "preset=" not in block.replace('preset="tiny"', ""), block
        names: dict[str, Any] = {"__name__": "docs"}
        exec(compile(block, "<docs>", "exec"), names)
        comparisons = [value for value in names.values() if isinstance(value, sameloop.Comparison)]
        assert comparisons and all(comparison.verdict == "identical" for comparison in comparisons), block
