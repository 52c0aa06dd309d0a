"""The two loops side by side: every line has its place, according to the loops' own comments."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import LOOPS
from rich.console import Console

from benchmarks.cli import main
from benchmarks.judge.phases import PHASES
from benchmarks.pages.alignment import by_phase, code_lines, phase_of, stretches
from benchmarks.pages.diff import LEAST_WIDTH, changed_lines, print_diff
from benchmarks.pages.eject import eject
from benchmarks.pages.fold import folded_source
from shared.config import RunConfig
from shared.running.script import package_script

PAGES = {loop: package_script(loop).source for loop in LOOPS}


def folded(loop: str) -> str:
    """The full loop has a line for every setting; for the quick preset's the specialized loops are shown."""
    return folded_source(package_script(loop), RunConfig.build("quick"))


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("source_of", [PAGES.get, folded], ids=["all settings", "folded"])
def test_every_line_of_the_page_belongs_to_one_phase(source_of: Callable[[str], str], loop: str) -> None:
    source = source_of(loop)
    lines = source.splitlines()
    pieces = stretches(source)
    assert [line for stretch in pieces for line in stretch.lines] == lines
    assert [stretch.first for stretch in pieces] == sorted({stretch.first for stretch in pieces})
    assert {stretch.phase for stretch in pieces} <= {phase.name for phase in PHASES}
    assert sum(code_lines(pieces_of_phase) for pieces_of_phase in by_phase(source).values()) == sum(
        bool(line.strip()) and not line.strip().startswith("#") for line in lines
    )


def test_every_phase_is_on_a_page_and_says_what_buys_it() -> None:
    manual, trainer = (by_phase(source) for source in PAGES.values())
    assert len({phase.name for phase in PHASES}) == len(PHASES)
    for phase in PHASES:
        assert phase.does and phase.bought
        assert manual[phase.name] or trainer[phase.name]
        # A phase that one page lacks has a reason, which is in `bought`.
        if not manual[phase.name]:
            assert "the manual loop needs nothing" in phase.bought
        if not trainer[phase.name]:
            assert "trainer.train()" in phase.bought


def test_what_buys_a_phase_is_on_the_trainer_page() -> None:
    source = PAGES["trainer"] + Path("trainer_loop/callbacks.py").read_text()
    for phase in PHASES:
        for argument in re.findall(r"(\w+)=", phase.bought):
            assert f"{argument}=" in source, (phase.name, argument)
        for name in re.findall(r"[\w.]+(?=\()", phase.bought):
            assert name in source, (phase.name, name)


@pytest.mark.parametrize(
    ("piece", "phase"),
    [
        ("set_seed(config.seed)", "seed"),
        ("generator.manual_seed(", "shuffle"),
        ("DataLoader(train_dataset,", "batch"),
        ("training_model.train()", "train mode"),
        ("training_loss(training_model,", "forward"),
        ("loss = loss / ", "loss"),
        (".backward()", "backward"),
        ("clip_grad_norm_(", "clip"),
        ("optimizer.step()", "step"),
        ("scheduler.step()", "schedule step"),
        ("zero_grad()", "zero"),
        ("AdamW(", "optimizer"),
        ("LambdaLR(", "schedule"),
        ("model.eval()", "evaluate"),
        ("tokenizer.save_pretrained(", "save"),
    ],
)
def test_the_lines_that_matter_are_in_their_phase(piece: str, phase: str) -> None:
    phases = {stretch.phase for stretch in stretches(PAGES["manual"]) for line in stretch.lines if piece in line}
    assert phase in phases and phases <= {phase, "imports"}


def test_a_comment_names_a_phase_only_at_its_beginning() -> None:
    assert phase_of("# Clip: gradients that are longer") == "clip"
    assert phase_of("# Schedule step: the next rate") == "schedule step"
    assert phase_of("# Zero.") == "zero"
    for comment in ("# the Clip: no", "# Clipping: no", "# clip: no", "# Step by step", "# A seed: no"):
        assert phase_of(comment) is None


def test_a_page_that_somebody_tries_things_on_is_still_shown_whole() -> None:
    before = {(stretch.phase, line) for stretch in stretches(PAGES["manual"]) for line in stretch.lines}
    lines = PAGES["manual"].splitlines()
    for edited in (lines[:50] + lines[51:], [*lines[:50], "    pass", *lines[50:]], [*lines, "x = 1"], []):
        pieces = stretches("\n".join(edited))
        assert [line for stretch in pieces for line in stretch.lines] == edited
        same = [line for stretch in pieces for line in stretch.lines if (stretch.phase, line) in before]
        assert len(same) >= 0.9 * len(edited)


def test_a_function_belongs_to_the_phase_that_calls_it() -> None:
    source = (
        "import x\n\n\ndef train(a):\n    # Clip: so.\n    clipped(a)\n\n\ndef clipped(a):\n    return two(a)\n\n\n"
    )
    source += "def two(a):\n    return a\n\n\ndef unused(a):\n    return a\n"
    phases = [(stretch.phase, stretch.lines[0]) for stretch in stretches(source)]
    assert ("clip", "def clipped(a):") in phases and ("clip", "def two(a):") in phases
    assert ("function", "def unused(a):") in phases


def shown_diff(width: int, *arguments: str, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", str(width))
    assert main(["diff", *arguments]) == 0
    printed = capsys.readouterr().out
    assert "\x1b" not in printed and "\u2026" not in printed
    assert max(map(len, printed.splitlines())) <= width
    return printed


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_diff_shows_every_line_as_wide_as_the_terminal(
    width: int, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = shown_diff(width, capsys=capsys, monkeypatch=monkeypatch)
    for script in LOOPS:
        for number, line in enumerate(folded(script).splitlines(), start=1):
            if line.strip():
                assert re.search(rf"[│┃] +{number} ", printed), (script, number)
    if width >= 200:
        # No line of code is broken where both fit, and the clip's line stands beside what buys it.
        row = next(line for line in printed.splitlines() if "clip_grad_norm_(model.parameters(), 1.0)" in line)
        assert row.count("│") == 3
    assert ("┃ manual_loop/train.py" in printed) == (width >= 2 * LEAST_WIDTH)


def test_diff_shows_one_phase(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    printed = shown_diff(160, "--phase", "clip", "--max-grad-norm", "0.5", capsys=capsys, monkeypatch=monkeypatch)
    assert "clip_grad_norm_(model.parameters(), 0.5)" in printed and "max_grad_norm=0.5," in printed
    assert "zero_grad" not in printed
    assert main(["diff", "--phase", "clipping"]) == 2
    assert "--phase clipping: there is none; choose one of page, imports" in capsys.readouterr().err


def test_diff_shows_what_a_setting_is_by_hand(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    printed = shown_diff(100, "--argument", "gradient_accumulation_steps=4", capsys=capsys, monkeypatch=monkeypatch)
    assert "--gradient-accumulation-steps 4, in the manual loop: 7 lines more, 2 lines less" in printed
    changed = [line[1:].strip() for line in printed.splitlines() if line.startswith(("+", "-"))]
    assert "loss = loss / min(4, len(train_loader) - (number - 1) // 4 * 4)" in changed
    assert not any("clip_grad_norm_" in line for line in changed)
    for wrong in ("gradient_accumulation_steps", "nothing=4", "loop=x.py"):
        assert main(["diff", "--argument", wrong]) == 2
        assert f"--argument {wrong}: give an argument and its value" in capsys.readouterr().err
    assert main(["diff", "--argument", "gradient_accumulation_steps=0"]) == 2


@pytest.mark.parametrize("width", [120, 290])
def test_diff_shows_three_side_by_side(
    width: int, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = shown_diff(width, "--accelerate", "--bf16", capsys=capsys, monkeypatch=monkeypatch)
    config = RunConfig.build("quick", bf16=True, save_strategy="no")
    for loop in ("manual", "accelerate", "trainer"):
        for number, line in enumerate(eject(config, loop).splitlines(), start=1):
            if line.strip():
                assert re.search(rf"[│┃] +{number} ", printed), (loop, number)
    assert ("┃ manual" in printed.splitlines()[2]) == (width >= 3 * LEAST_WIDTH)
    if width >= 3 * LEAST_WIDTH:
        row = next(line for line in printed.splitlines() if "torch.nn.utils.clip_grad_norm_" in line)
        assert "accelerator.clip_grad_norm_" in row and row.count("│") == 4


@pytest.mark.parametrize(
    "arguments",
    [("--argument", "bf16=True"), ("--loop", "mine.py"), ("--fp16",), ("--save-strategy", "epoch")],
)
def test_what_diff_cannot_show_with_accelerate_is_said_in_one_line(arguments: tuple[str, ...], refusal: Any) -> None:
    assert arguments[0] in refusal("diff", "--accelerate", *arguments)


def test_what_changes_is_counted_in_lines_of_code() -> None:
    before = "def train():\n    # Clip: so.\n    a = 1\n    b = 2  # Zero: x\n"
    after = "def train():\n    # Clip: otherwise.\n    a = 1\n    c = 3\n    b = 2  # Zero: y\n"
    assert changed_lines(before, after) == (["c = 3"], [])


def test_diff_is_coloured_on_a_terminal() -> None:
    terminal = io.StringIO()
    console = Console(file=terminal, force_terminal=True, width=160, color_system="standard")
    print_diff({loop: folded(loop) for loop in LOOPS}, console, names={loop: loop for loop in LOOPS})
    assert "\x1b[" in terminal.getvalue()
