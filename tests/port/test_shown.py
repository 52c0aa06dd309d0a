"""What is shown of a script's job: the report, the x-ray and the diff, in the words of that job."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from small_script import TRAINED, small

from benchmarks.cli import main

ARGUMENTS = ", gradient_accumulation_steps=2, eval_strategy='epoch', logging_steps=1, max_grad_norm=0.5"
# What no job but ours has.
OURS = re.compile(r"\b(reviews?|IMDB|DistilBERT|settings?|subset|class(es)?|accuracy|Any good)\b")


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    call = (TRAINED % ARGUMENTS).replace("train_dataset", "eval_dataset=data[:5], train_dataset")
    return small(tmp_path_factory.mktemp("script"), call)


@pytest.fixture(scope="module")
def compared(script: Path) -> Path:
    """The folder of the comparison with the loop that is written for it, with its report."""
    folder = script.parent / "run"
    assert main(["compare", "--trainer", str(script), "--output-dir", str(folder)]) == 0
    return folder


def read(script: Path) -> tuple[dict[str, Any], str, dict[str, str]]:
    """Of a report the steps' data, its words (no code, no script), and the lines of code by their ids."""
    html = script.read_text(encoding="utf-8")
    data = json.loads(re.search(r'id="step-data">(.*?)</script>', html, re.DOTALL)[1])
    words = re.sub(r"<(script|style|pre|code|metadata)\b.*?</\1>", " ", html, flags=re.DOTALL)
    lines = dict(re.findall(r'id="((?:manual|trainer)-\d+)">(.*?)\n</span>', html))
    return data, re.sub(r"<[^>]*>", " ", words), {name: re.sub(r"<[^>]*>", "", line) for name, line in lines.items()}


def test_the_report_has_what_the_job_has(script: Path, compared: Path) -> None:
    data, words, lines = read(compared / "report.html")
    assert [words[max(0, m.start() - 60) : m.end() + 60] for m in OURS.finditer(words)] == []
    assert (data["count"], data["is_own_job"], data["has_tokens"]) == (2, True, False)
    assert data["evaluations"][0][0] == 2
    comparison = json.loads((compared / "comparison.json").read_text(encoding="utf-8"))
    html = unescape((compared / "report.html").read_text(encoding="utf-8"))
    assert comparison["job"]["facts"] and all(f"<li>{fact}" in html for fact in comparison["job"]["facts"])
    assert "max_grad_norm=0.5" in html and f"--trainer {script}" in html
    for part in ("verdict", "facts", "code", "charts", "xray", "steps", "settings", "reproduce"):
        assert f'<section id="{part}"' in html
    for part in ("quality", "ladder", "costs"):
        assert f'id="{part}"' not in html
    # Both files' own lines, all of them.
    own = [line for line in script.read_text(encoding="utf-8").splitlines() if line.strip()]
    assert [line for name, line in lines.items() if name.startswith("trainer-") and line.strip()] == own
    loop = (compared / "manual" / "mine_loop.py").read_text(encoding="utf-8")
    assert {line for name, line in lines.items() if name.startswith("manual-")} >= {
        line for line in loop.splitlines() if line.strip() and not re.search("[&<>\"']", line)
    }


def test_a_report_that_is_asked_for_looks_inside(compared: Path) -> None:
    """Only then is the script run once more for each side."""
    before, script = (compared / "report.html").read_text(encoding="utf-8"), compared / "again.html"
    assert main(["report", str(compared), "--output", str(script)]) == 0
    events = script.read_text(encoding="utf-8").count('<li class="event')
    assert (before.count('<li class="event'), events > 30) == (0, True)
    assert OURS.findall(read(script)[1]) == []


def test_the_report_marks_where_they_part(script: Path, compared: Path, tmp_path: Path) -> None:
    loop, folder = tmp_path / "loop.py", tmp_path / "run"
    text = (compared / "manual" / "mine_loop.py").read_text(encoding="utf-8")
    loop.write_text(text.replace("clip_grad_norm_(model.parameters(), 0.5)", "clip_grad_norm_(model.parameters(), 5)"))
    pair = ["--trainer", str(script), "--loop", str(loop)]
    assert main(["compare", *pair, "--output-dir", str(folder)]) == 1
    html = (folder / "report.html").read_text(encoding="utf-8")
    assert re.findall(r'class="row fault[^"]*" data-phase="([^"]*)"', html) == ["clip"]
    assert f"--loop {loop}" in html


def test_two_scripts_have_a_report_too(script: Path, tmp_path: Path) -> None:
    other = small(tmp_path, script.read_text(encoding="utf-8").partition("\ndata = ")[2].partition("\n")[2], "two.py")
    folder = tmp_path / "run"
    assert main(["compare", "--trainer", str(script), "--against", str(other), "--output-dir", str(folder)]) == 0
    _, words, lines = read(folder / "report.html")
    assert OURS.findall(words) == [] and f"--against {other}" in (folder / "report.html").read_text(encoding="utf-8")
    assert sum(name.startswith("manual-") for name in lines) == sum(name.startswith("trainer-") for name in lines) > 15


def test_the_xray_sees_the_same_in_both(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["xray", "--trainer", str(script), "--step", "2", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    step = [event for event in result["events"] if (event["part"], event["step"]) == ("step", 2)]
    # The epoch has three batches: its second step has one.
    phases = ["collator", "train mode", "device", "forward", "loss", "backward", "log", "clip", "step"]
    both = [event["phase"] for event in step if event["manual"] and event["trainer"]]
    assert both == [*phases, "schedule step", "zero"]
    assert {event["what"] for event in result["events"] if event["phase"] == "log"} >= {"logged"}
    assert any(event["part"] == "evaluation" and "eval_loss" in event["values"] for event in result["events"])
    assert {event["epoch"] for event in result["events"]} == {0, 1}
    frame = next(event for event in step if event["phase"] == "clip")["trainer"][-1]
    assert frame["file"] == "accelerate/accelerator.py"


def test_the_xray_finds_what_is_done_otherwise(
    script: Path, compared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loop = tmp_path / "loop.py"
    text = (compared / "manual" / "mine_loop.py").read_text(encoding="utf-8")
    loop.write_text(text.replace("scheduler.step()", "pass"))
    capsys.readouterr()
    assert main(["xray", "--trainer", str(script), "--loop", str(loop), "--json"]) == 1
    events = json.loads(capsys.readouterr().out)["events"]
    first = next(event for event in events if not event["equal"])
    assert (first["phase"], first["step"], first["manual"]) == ("schedule step", 1, None)


def test_the_diff_shows_both_files(script: Path, compared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["diff", str(compared)]) == 0
    of_the_run = capsys.readouterr().out
    assert main(["diff", "--trainer", str(script)]) == 0
    for printed in (of_the_run, capsys.readouterr().out):
        assert OURS.findall(printed.replace("class Net", "")) == []
        assert "model.zero_grad()" in printed and "Trainer(Net()" in printed


def test_the_xray_does_not_look_into_workers(tmp_path: Path, refusal: Callable[..., str]) -> None:
    assert "dataloader_num_workers=0" in refusal(
        "xray", "--trainer", str(small(tmp_path, TRAINED % ", dataloader_num_workers=1"))
    )


@pytest.mark.parametrize("arguments", [["--step", "99"], ["--loop", "none.py"], ["--seed", "3"]])
def test_what_the_xray_cannot_look_into_is_one_line(
    arguments: list[str], compared: Path, refusal: Callable[..., str]
) -> None:
    assert arguments[0] in refusal("xray", str(compared), *arguments)
