"""The command line as a user meets it: help at once, one line for a mistake, nothing overwritten."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from conftest import ran, tree
from syrupy.assertion import SnapshotAssertion
from test_printed import masked_output, pinned
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from benchmarks.cli import main
from shared.config import RunConfig
from shared.running.script import kept_script, package_script
from shared.sources import embedded
from shared.starting.children import sameloop_argv

SHADOWS = (
    "datasets.py",
    "json.py",
    "queue.py",
    "tokenize.py",
    "torch.py",
    "manual_loop/train.py",
    "shared/__init__.py",
)


# Calls a command, and fails if that has imported what takes seconds.
LIGHTLY = """
import sys
from benchmarks.cli import main
status = main(sys.argv[1:])
heavy = {"torch", "transformers", "datasets", "matplotlib", "numpy"} & set(sys.modules)
sys.exit(f"imported {heavy}" if heavy else status)
"""


@pytest.mark.usefixtures("started_again")
@pytest.mark.parametrize("arguments", [["--help"], ["compare", "--help"], ["manual", "--help"], ["trainer", "-h"]])
def test_help_lists_every_setting_without_importing_torch(arguments: list[str]) -> None:
    finished = ran(sys.executable, "-c", LIGHTLY, *arguments)
    assert finished.returncode == 0, finished.stderr
    if len(arguments) > 1:
        for name in RunConfig.model_fields:
            assert "--" + name.replace("_", "-") in finished.stdout


@pytest.mark.usefixtures("started_again")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", "--dataset", "none.csv"], "--dataset none.csv: there is no such file or folder"),
        (["trainer", "--model", "./none"], "--model ./none: there is no such folder"),
    ],
)
def test_a_path_that_leads_nowhere_is_told_without_importing_torch(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    finished = ran(sys.executable, "-c", LIGHTLY, *arguments, cwd=tmp_path)
    assert (finished.returncode, finished.stderr) == (2, f"sameloop: error: {message}\n")
    assert not any(tmp_path.iterdir())


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess, Path]:
    """One whole `sameloop compare --preset tiny`, as it is installed, with the default output folder.

    In a folder that holds modules of the same names as those that it imports: they disturb nobody.
    """
    folder = tmp_path_factory.mktemp("compare")
    for name in SHADOWS:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("raise RuntimeError('the wrong module')\n")
    script = Path(sysconfig.get_path("scripts")) / "sameloop"
    finished = ran(script, "compare", "--preset", "tiny", cwd=folder)
    return finished, folder / "runs" / "tiny"


def test_compare_leaves_verdict_chart_records_and_models(compared) -> None:
    finished, run = compared
    assert finished.returncode == 0, finished.stderr
    assert "identical: all 16 steps" in " ".join(finished.stdout.split())
    comparison = json.loads((run / "comparison.json").read_text())
    assert comparison["verdict"] == "identical"
    assert comparison["steps"] == 16
    assert set(comparison["max_abs_diff"].values()) == {0.0}
    assert comparison["first_divergence"] is None
    assert comparison["manual"]["weights_sha256"] == comparison["trainer"]["weights_sha256"]
    for name in ("comparison.png", "comparison.svg", "manual/record.jsonl", "trainer/record.jsonl"):
        assert (run / name).stat().st_size > 1000
    for loop in ("manual", "trainer"):
        model = AutoModelForSequenceClassification.from_pretrained(run / loop)
        assert model.config.num_labels == 2
        assert AutoTokenizer.from_pretrained(run / loop)("good")["input_ids"] == [101, 2204, 102]
        assert kept_script(run / loop).code == package_script(loop).code


@pinned
def test_it_prints_losses_costs_verdict_and_where_they_are_kept(compared, snapshot: SnapshotAssertion) -> None:
    finished, run = compared
    assert masked_output(finished, run.parents[1]) == snapshot


def test_progress_is_named_and_bars_stay_out_of_files(compared) -> None:
    finished, _ = compared
    for phase in ("loading data", "tokenizing", "loading the model", "training and evaluating", "comparing"):
        assert phase in finished.stderr
    assert "\r" not in finished.stderr
    assert "it/s]" not in finished.stderr


def test_each_loop_shows_its_losses_per_epoch(compared) -> None:
    finished, run = compared
    assert finished.stdout.count("Training Loss") == 2
    (line,) = [row for row in finished.stdout.splitlines() if row.startswith("│    8 │")][:1]
    comparison = json.loads((run / "comparison.json").read_text())["manual"]
    assert f"{comparison['eval_loss'][0]:.6f}" in line
    assert f"{comparison['eval_accuracy'][0]:.6f}" in line


def test_another_run_is_not_overwritten_unless_asked(compared, capfd) -> None:
    _, run = compared
    before = tree(run)
    assert main(["compare", "--preset", "tiny", "--seed", "1", "--output-dir", str(run)]) == 2
    error = capfd.readouterr().err
    assert "it holds another run (--seed 42, not 1)" in error
    assert "--overwrite-output-dir" in error
    assert tree(run) == before


def test_a_run_is_put_back_when_its_replacement_cannot_start(compared, capfd) -> None:
    _, run = compared
    before = tree(run)
    wrong = ["--preset", "tiny", "--dataset", "nobody/nothing", "--overwrite-output-dir", "--output-dir", str(run)]
    assert main(["compare", *wrong]) == 2
    assert capfd.readouterr().err.count("sameloop: error:") == 1
    assert tree(run) == before
    assert not run.with_name("tiny.previous").exists()


def test_the_same_run_again_replaces_the_first(compared) -> None:
    _, run = compared
    first = tree(run / "manual")["model.safetensors"]
    options = ["--preset", "tiny", "--output-dir", str(run / "manual")]
    assert ran(sys.executable, "-m", "benchmarks", "manual", *options).returncode == 0
    assert tree(run / "manual")["model.safetensors"] == first
    assert not (run / "manual.previous").exists()


def test_what_a_killed_replacement_left_is_undone_by_the_next_run(compared, tmp_path: Path, refusal) -> None:
    _, run = compared
    shutil.copytree(run / "manual", tmp_path / "run.previous")
    (tmp_path / "run").mkdir()
    half = (run / "manual/record.jsonl").read_text().splitlines(keepends=True)[:4]
    (tmp_path / "run/record.jsonl").write_text("".join(half))
    # Refused, because the settings are other ones: but the whole run is back in its place.
    line = refusal("manual", "--preset", "tiny", "--seed", "1", "--output-dir", str(tmp_path / "run"))
    assert "it holds another run" in line
    assert tree(tmp_path / "run") == tree(run / "manual")
    assert not (tmp_path / "run.previous").exists()


def test_a_folder_with_other_files_or_a_file_in_the_way_is_left_alone(tmp_path: Path, refusal) -> None:
    (tmp_path / "thesis.tex").write_text("three years of work")
    for target, message in ((tmp_path, "not a SameLoop run"), (tmp_path / "thesis.tex", "a file is in the way")):
        for overwrite in ([], ["--overwrite-output-dir"]):
            assert message in refusal("trainer", "--preset", "tiny", "--output-dir", str(target), *overwrite)
    assert tree(tmp_path) == {"thesis.tex": b"three years of work"}


def test_doctor_names_versions_device_assets_and_presets(capfd, monkeypatch: pytest.MonkeyPatch) -> None:
    # What it measures the machine with.
    monkeypatch.setitem(embedded.MODEL_SHAPES, "embedded", embedded.MODEL_SHAPES["embedded-tiny"])
    assert main(["doctor"]) == 0
    words = " ".join(capfd.readouterr().out.replace("│", " ").split())
    for expected in ("transformers 5.", "torch.cuda.is_available()", "vocab.txt intact", "Hub", "quick", "lesson"):
        assert expected in words


PRINTS = """
import os, subprocess, sys
import click
from rich.console import Console
from shared.running.command import run_command

@click.command()
def command():
    print("first", flush=True)
    sys.stdin.read()
    for number in range(20_000):
        click.echo(f"line {number}")
    Console().print("by rich")
    subprocess.run(["printf", "%s", "a child's"], check=True)
    print("to the end", file=sys.stderr)
    return 3

sys.exit(run_command(command, "test"))
"""


def test_a_reader_that_goes_away_changes_neither_the_work_nor_the_exit_status() -> None:
    started = subprocess.Popen(
        [sys.executable, "-c", PRINTS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert started.stdout.readline() == "first\n"
    started.stdout.close()
    started.stdin.close()
    assert started.stderr.read() == "to the end\n"
    assert started.wait() == 3


def test_a_list_into_head_ends_well() -> None:
    pipe = 'set -o pipefail; "$0" -m benchmarks break | head -1'
    finished = ran("bash", "-c", pipe, sys.executable)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert finished.stdout.count("\n") == 1


def test_output_that_cannot_be_written_is_one_line() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    with Path("/dev/full").open("w") as full:
        finished = subprocess.run(
            [sys.executable, "-m", "benchmarks", "break"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert finished.returncode == 2
    assert finished.stderr == "sameloop: error: cannot write the output: No space left on device\n"


# Calls a command that starts a process, with the end of children ignored and every standard stream closed.
INHERITS = """
import os, signal, subprocess, sys
import click
from shared.running.command import run_command

@click.command()
@click.argument("file")
def command(file):
    print("nobody reads this")
    print("nor this", file=sys.stderr)
    with open(file, "w") as first:
        first.write(f"{first.fileno() > 2} {subprocess.run([sys.executable, '-c', 'raise SystemExit(3)']).returncode}")

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
os.closerange(0, 3)
sys.exit(run_command(command, "test"))
"""


def test_closed_streams_and_ignored_children_are_put_right(tmp_path: Path) -> None:
    finished = subprocess.run([sys.executable, "-c", INHERITS, str(tmp_path / "seen")], check=False)
    assert finished.returncode == 0
    assert (tmp_path / "seen").read_text() == "True 3"


@pytest.mark.usefixtures("started_again")
def test_a_package_of_the_users_with_the_name_of_one_of_ours_is_no_matter(tmp_path: Path) -> None:
    """On PYTHONPATH; the command as it is installed."""
    for package in ("benchmarks", "shared"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise RuntimeError('the wrong package')")
    script = Path(sysconfig.get_path("scripts")) / "sameloop"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    for start in ([script], sameloop_argv()):
        finished = ran(*start, "break", env=environment)
        assert (finished.returncode, finished.stderr) == (0, ""), start


@pytest.mark.slow
def test_compare_into_head_does_its_whole_work(tmp_path: Path) -> None:
    pipe = 'set -o pipefail; "$0" -m benchmarks compare --preset tiny --output-dir "$1" | head -1'
    finished = subprocess.run(
        ["bash", "-c", pipe, sys.executable, str(tmp_path / "run")], capture_output=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    assert {"comparison.json", "report.html"} <= {path.name for path in (tmp_path / "run").iterdir()}


@pytest.mark.parametrize(("status", "of_make"), [(0, 0), (1, 0), (2, 2), (70, 2), (130, 2)])
def test_make_takes_a_divergence_for_an_answer_and_an_error_for_an_error(
    status: int, of_make: int, tmp_path: Path
) -> None:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    root = Path(__file__).parents[2]
    (tmp_path / "shared" / "sources").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "shared/sources/embedded.txt"):
        shutil.copy(root / name, tmp_path / name)
    program = tmp_path / ".venv" / "bin" / "sameloop"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho the verdict of $@\nexit {status}\n")
    program.chmod(0o755)
    installed = tmp_path / ".venv" / ".installed"
    installed.touch()
    newest = max((tmp_path / name).stat().st_mtime for name in ("pyproject.toml", "constraints.txt"))
    os.utime(installed, (newest + 10, newest + 10))
    finished = ran("make", "compare", "ARGS=--preset tiny", cwd=tmp_path)
    assert finished.returncode == of_make, finished.stderr
    assert "the verdict of compare --preset tiny" in finished.stdout
    assert ("Error" in finished.stderr) == (of_make != 0)
    if of_make:
        assert f"Error {status}" in finished.stderr
