"""The report of two loops on our own job: neither side is Trainer, and the page says so nowhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import run_in_process
from html_page import Page

from benchmarks.charts.data import NAMES, names_of
from benchmarks.cli import main
from benchmarks.compare import write_comparison
from benchmarks.gather import gather
from benchmarks.runs import read_comparison
from shared.config import RunConfig
from shared.recording.record import RunRecord
from shared.running.script import own_script

# Without the word that the page must not say.
LOOP = (Path(__file__).parents[2] / "manual_loop" / "minimal.py").read_text(encoding="utf-8").replace("Trainer", "It")
PHASES = {"loss.backward(": "Backward", "torch.nn.utils.clip": "Clip", "optimizer.step(": "Step"}
# Of these two pieces, which are one phase, each stands beside its own.
PHASES |= {"generator = ": "Shuffle", "generator.manual_seed(": "Shuffle", "collator = ": "Collator"}
ODD = 'it\'s "${data}" `b` (Trainer) <i>.py'


def comparison_of(folder: Path, *loops: Path) -> Path:
    """Both loops on the tiny preset, compared; returns the folder."""
    for role, loop in zip(NAMES, loops, strict=True):
        config = RunConfig.build("tiny", num_train_epochs=1, loop=str(loop))
        run_in_process("manual", config, folder / role, script=own_script(loop))
    write_comparison(folder)
    return folder


def written(file: Path, **edits: str) -> Path:
    """The loop, with the phases' comments, and with these words replaced."""
    source = LOOP
    for line, phase in PHASES.items():
        source, count = re.subn(rf"^( +)({re.escape(line)})", rf"\1# {phase}:\n\1\2", source, flags=re.MULTILINE)
        assert count == 1
    for old, new in edits.items():
        assert old in source
        source = source.replace(old, new)
    file.parent.mkdir(exist_ok=True)
    file.write_text(source, encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def two_loops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison of a loop that clips at 1.0 with one that clips at 0.5, with its report."""
    folder = tmp_path_factory.mktemp("loops")
    loops = written(folder / "mine.py"), written(folder / ODD, **{"1.0": "0.5"})
    assert main(["report", str(comparison_of(folder / "run", *loops))]) == 0
    return folder / "run"


def test_no_side_is_called_trainer_or_manual(two_loops: Path) -> None:
    html = (two_loops / "report.html").read_text(encoding="utf-8")
    page = Page(html)
    sections = dict(re.findall(r'<section id="([a-z]+)"(.*?)</section>', html, re.DOTALL))
    assert [*sections] == ["verdict", "code", "charts", "xray", "steps", "settings", "reproduce"]
    text = " ".join(sections[name] for name in ("verdict", "code", "charts", "steps"))
    # What is no word of the page: the code, and what styles and links go by.
    words = re.sub(r'<pre.*?</pre>|\b(id|class)="[^"]*"', "", text, flags=re.DOTALL).replace("(Trainer)", "")
    assert re.findall(r"\bTrainer\b|\bmanual\b", words) == []
    assert re.findall(r"\bTrainer\b(?!\\u0029)|\bmanual\b", page.scripts[-1]) == []
    assert words.count("mine.py") > 20
    assert "--against" in html.partition('<pre class="command">')[2].partition("</pre>")[0]


def test_pieces_of_both_loops_stand_level(two_loops: Path) -> None:
    html = (two_loops / "report.html").read_text(encoding="utf-8")
    rows = re.findall(r'data-phase="([a-z ]+)"(.*?)(?=<div class="row|</section>)', html, re.DOTALL)
    assert [phase for phase, _ in rows if phase.capitalize() in PHASES.values()].count("shuffle") == 2
    for _, text in rows:
        assert len(re.findall(r'id="manual-\d+"', text)) == len(re.findall(r'id="trainer-\d+"', text)) > 0
    assert re.findall(r'class="row fault[^"]*" data-phase="([^"]*)"', html) == ["clip"]


def test_the_cause_is_what_the_other_loop_does_and_not_what_the_settings_say(two_loops: Path) -> None:
    """The settings say 0.1; the norm passes 0.5, where they part, at step 4 first."""
    assert RunConfig.build("tiny").max_grad_norm == 0.1
    first = read_comparison(two_loops)["first_divergence"]
    (finding,) = first["findings"][:1]
    assert (finding["code"], finding["phase"], finding["step"]) == ("clip.missing", "clip", first["step"])
    assert "max_grad_norm 0.5" in finding["text"] and "in mine.py" in finding["text"] and ODD in finding["text"]


def test_the_charts_have_the_names_of_the_files(two_loops: Path) -> None:
    """The second side is drawn broad and pale, and lies below, as Trainer's does."""
    assert [run.label for run in gather([two_loops]).runs] == [ODD, "mine.py"]
    alt = (two_loops / "comparison.alt.txt").read_text(encoding="utf-8")
    assert "mine.py: 8 steps" in alt and "manual: " not in alt and "Trainer: " not in alt


def test_loops_of_one_name_are_told_apart(two_loops: Path, tmp_path: Path) -> None:
    manual, trainer = (RunRecord.read(two_loops / role) for role in NAMES)

    def named(*files: Path) -> list[str]:
        for record, file in zip((manual, trainer), files, strict=True):
            record.header["config"]["loop"] = str(file)
        records = [RunRecord([record.header, *record.lines[1:]], "changed") for record in (manual, trainer)]
        return [*names_of(*records).values()]

    assert named(tmp_path / "a.py", tmp_path / "b.py") == ["a.py", "b.py"]
    assert named(tmp_path / "old" / "a.py", tmp_path / "new" / "a.py") == ["old/a.py", "new/a.py"]
    name = f"{tmp_path.name}/a.py"
    assert named(tmp_path / "a.py", tmp_path / "a.py") == [name, f"{name} (2)"]
