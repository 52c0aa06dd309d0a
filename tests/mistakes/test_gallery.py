"""`sameloop break` and `sameloop exercise`."""

from __future__ import annotations

import html
import io
import math
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from benchmarks.cli import main, sameloop
from benchmarks.mistakes import costs, show
from benchmarks.mistakes.catalogue import GALLERY, UNSEEN
from benchmarks.mistakes.costs import Cost, Run, by_cost, costs_of
from benchmarks.mistakes.costs_chart import costs_chart
from benchmarks.mistakes.show import answer, changed_lines, exercise_source, write_gallery


def run(
    accuracy: float, reported: float | None = None, loss: float = 0.6, seconds: float = 1.0, mb: float = 1.0
) -> Run:
    return Run(accuracy if reported is None else reported, loss, accuracy, loss, seconds, mb)


def cost(wrong: list[Run], name: str = "no_clip") -> Cost:
    return Cost(name, [run(0.6), run(0.62), run(0.58)], wrong)


def test_a_cost_counts_only_beyond_seed_to_seed_variation() -> None:
    harm = cost([run(0.5), run(0.51), run(0.49)])
    assert harm.is_sure() and "accuracy -10.0 points" in harm.noticed()
    chance = cost([run(0.64), run(0.57), run(0.6)])
    assert not chance.is_sure() and "variation" in chance.noticed()
    same = cost([run(0.6), run(0.62), run(0.58)])
    assert "bit for bit" in same.noticed()


def test_what_a_loop_reports_is_compared_with_what_its_model_achieves() -> None:
    boasting = cost([run(0.6, 0.7), run(0.62, 0.72), run(0.58, 0.68)])
    assert "the reported numbers are wrong: accuracy +10.0 points" in boasting.noticed()
    slow = cost([run(0.6, seconds=3), run(0.62, seconds=3), run(0.58, seconds=3)])
    assert "3.0 times the seconds" in slow.noticed()


@pytest.mark.parametrize(("guess", "reply"), [("accuracy", "right!"), ("nothing", "no, not nothing"), ("", None)])
def test_a_guess_at_what_one_notices_is_judged(guess: str, reply: str | None, tmp_path: Path, monkeypatch) -> None:
    harm = cost([run(0.5), run(0.51), run(0.49)])
    assert harm.signs == ["accuracy"]
    row = {"item": "clip", "step": 1, "cause": "no clip", "student": "2", "right": "1"}
    monkeypatch.setattr(show, "ask", lambda question, answers, console: guess)
    monkeypatch.setattr(show, "first_failure", lambda mistake: row)
    monkeypatch.setattr(costs, "costs_of", lambda *_: ([harm], []))
    monkeypatch.setattr(show, "write_gallery", lambda *_: None)
    console = Console(file=io.StringIO(), width=100)
    show.print_one("no_clip", "tiny", 3, 1, tmp_path / "out", console)
    printed = console.file.getvalue()
    assert ("right!" in printed or "no, not" in printed) == bool(reply)
    assert reply is None or reply in printed


def test_the_most_costly_comes_first() -> None:
    costs = [cost([run(0.6)] * 3, "no_clip"), cost([run(0.4)] * 3, "no_mask")]
    assert [entry.name for entry in by_cost(costs)] == ["no_mask", "no_clip"]


def test_the_list_names_every_mistake_its_source_and_what_is_not_seen() -> None:
    output = CliRunner().invoke(sameloop, ["break"]).output
    for mistake in GALLERY.values():
        assert mistake.name in output and mistake.source in output
    assert all(sentence in output for sentence in UNSEEN)


def test_chart_and_page_show_each_mistake(tmp_path: Path) -> None:
    costs = [cost([run(0.5), run(0.51), run(0.49)], "no_mask"), cost([run(0.6, 0.7)] * 3, "no_eval_mode")]
    rows = {
        entry.name: {"item": "forward", "step": 1, "cause": "a <cause>", "student": "1", "right": "0"}
        for entry in costs
    }
    write_gallery(tmp_path / "gallery", costs, "tiny", rows)
    script = (tmp_path / "gallery" / "gallery.html").read_text()
    assert (
        "a &lt;cause&gt;" in script
        and GALLERY["no_mask"].what in script
        and "http" not in script.replace("http-equiv", "")
    )
    text = html.unescape(script)
    assert all(line[1:].strip() in text for line in changed_lines(GALLERY["no_mask"]))
    assert costs_chart(costs, "a job").save(tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")
    assert "no_mask" not in (tmp_path / "chart.alt.txt").read_text()
    assert GALLERY["no_mask"].what in (tmp_path / "chart.alt.txt").read_text()


def test_an_exercise_hides_its_mistake_and_a_right_guess_shows_it(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    from rich.console import Console

    mistake = GALLERY["clip_after_step"]
    file = tmp_path / "exercise.py"
    file.write_text(exercise_source(mistake))
    assert mistake.what not in file.read_text() and "clip" not in file.read_text().splitlines()[0]
    console = Console(highlight=False, width=200)
    answer(file, "zero", console)
    assert "no, it is not zero" in capsys.readouterr().out
    answer(file, "clip", console)
    assert mistake.what in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("break", "no_clipp"), "there is no mistake 'no_clipp': no_clip?"),
        (("break", "no_clip", "--all"), "--all shows every mistake"),
        (("break", "no_clip", "--output-dir", "{full}"), "holds something else"),
        (("break", "--all", "--preset", "nono", "--output-dir", "{new}"), "there is no preset 'nono'"),
        (("exercise", "--output", "{file}"), "exists already"),
        (("exercise", "--output", "{file}", "--guess", "clip"), "is not an exercise as it was written"),
        (("exercise", "--output", "{file}", "--guess", "clap"), "there is no such phase"),
        (("exercise", "--output", "{none}", "--guess", "clip"), "there is no exercise"),
    ],
)
def test_wrong_input_is_one_line(arguments, line: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    (tmp_path / "mine.py").write_text("mine")
    places = {
        "full": tmp_path / "full",
        "new": tmp_path / "new",
        "file": tmp_path / "mine.py",
        "none": tmp_path / "none.py",
    }
    status = main([argument.format(**places) for argument in arguments])
    assert status == 2
    assert line in capsys.readouterr().err
    assert (tmp_path / "mine.py").read_text() == "mine" and not (tmp_path / "new").exists()


@pytest.mark.slow
def test_a_mistake_that_harms_is_measured_to_harm() -> None:
    """Two mistakes, three seeds each, on 2,000 reviews: half a minute."""
    (harm, same), _ = costs_of([GALLERY["one_class"], GALLERY["graphs_in_evaluation"]], "tiny", 3)
    assert harm.accuracy < 0
    assert same.difference("accuracy") == [0, 0, 0] and same.difference("loss") == [0, 0, 0]


def test_a_loss_that_overflowed_is_no_sure_difference() -> None:
    right, wrong = (Run(0.5, loss, 0.5, loss, 1.0, 1.0) for loss in (0.7, math.inf))
    assert not Cost("no_clip", [right] * 2, [wrong] * 2).is_sure("loss")
