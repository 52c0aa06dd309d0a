"""The report: everything of one comparison on one page, true to the record and safe to open."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import random
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import LOOPS, Trained, compared
from html_page import ATTACK, Page

from benchmarks.cli import main
from benchmarks.lesson import report, steps
from benchmarks.lesson.code_rows import HEAD, Row, rows_of
from benchmarks.lesson.pictures import CHARTS
from benchmarks.lesson.report import render, write_report
from benchmarks.lesson.steps import Reviews, load_reviews, step_table
from benchmarks.pages.eject import accelerated_script, eject
from benchmarks.pages.fold import folded_source
from benchmarks.runs import read_comparison
from shared.config import RunConfig
from shared.data import load_subsets
from shared.errors import SameLoopError
from shared.recording.record import SCHEMA, RunRecord
from shared.running.script import scripts_of


@pytest.fixture(scope="module")
def comparison_dir(tiny_comparison: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny comparison's folder, with its report."""
    folder = tmp_path_factory.mktemp("report") / "run"
    shutil.copytree(tiny_comparison, folder)
    write_report(folder)
    return folder


@pytest.fixture
def records(comparison_dir: Path) -> list[RunRecord]:
    """By hand and Trainer's; read again for each test."""
    return [RunRecord.read(comparison_dir / loop) for loop in LOOPS]


@pytest.fixture(scope="module")
def equal(comparison_dir: Path) -> dict[str, Any]:
    """What the comparison says, which both loops' runs are equal in."""
    return read_comparison(comparison_dir)


@pytest.fixture(scope="module")
def html(comparison_dir: Path) -> str:
    return (comparison_dir / "report.html").read_text(encoding="utf-8")


def data_of(html: str) -> dict[str, Any]:
    return json.loads(re.search(r'id="step-data">(.*?)</script>', html, re.DOTALL)[1])


NONE = Reviews({}, [], [])


def plain(comparison: dict[str, Any], records: list[RunRecord], reviews: Reviews = NONE) -> str:
    """A page without charts and x-ray, for what does not need them."""
    return render(comparison, records, reviews, xray_result=None, why_not="left out", pictures={})


def test_the_page_shows_everything(html: str) -> None:
    for part in ("verdict", "charts", "code", "xray", "steps", "settings", "reproduce"):
        assert f'<section id="{part}"' in html
    assert "All 16 steps, every evaluation and every weight are equal" in html
    assert len(re.findall(r'<span class="exact">[a-z ]+\s*<b>0.0</b>', html)) == 6
    assert html.count("<figure") == len(CHARTS)
    assert "in the same order" in html
    assert "trainer.py:" in html and "floating_point_ops" in html
    assert ".venv/bin/sameloop compare --preset tiny" in html
    assert "var(--ink)" in html


def test_every_line_of_both_pages_is_there_and_every_event_leads_to_its_row(html: str) -> None:
    page = Page(html)
    config = RunConfig.build("tiny", num_train_epochs=2)
    for loop, source in scripts_of(config).items():
        lines = folded_source(source, config).splitlines()
        for number, line in enumerate(lines, start=1):
            if line.strip():
                assert page.lines[f"{loop}-{number}"].rstrip("\n") == line
        assert f"{loop}-{len(lines) + 1}" not in page.lines
    targets = set(re.findall(r'href="#(row-[a-z-]+)"', html))
    identifiers = {attributes.get("id") for _, attributes in page.tags}
    assert len(targets) > 15 and targets <= identifiers


def test_the_page_needs_nothing_else_and_runs_only_its_own_script(html: str) -> None:
    page = Page(html)
    for tag, attributes in page.tags:
        for name in ("src", "href", "xlink:href", "action", "data", "srcset"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:")), (tag, name, value)
        assert not any(name.startswith("on") for name in attributes)
    # Links to the web in the words of an SVG's namespaces are names, not addresses: all others would be in the code.
    policy = next(attrs["content"] for tag, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    digest = base64.b64encode(hashlib.sha256(page.scripts[-1].encode()).digest()).decode()
    assert "default-src 'none'" in policy and f"script-src 'sha256-{digest}'" in policy
    assert len(page.scripts) == 2
    identifiers = [values["id"] for _, values in page.tags if values.get("id")]
    assert len(identifiers) == len(set(identifiers))


def test_the_table_of_steps_says_what_the_record_says(html: str, records: list[RunRecord]) -> None:
    data, record = data_of(html), records[0]
    assert data["count"] == 16 and data["differs"] == {} and data["trainer"] == {} and data["trainer_reviews"] is None
    for name in ("loss", "grad_norm", "learning_rate", "tokens"):
        assert data["columns"][name] == [line[name] for line in record.steps]
    assert data["columns"]["epoch"] == [1] * 8 + [2] * 8


def test_every_step_shows_the_reviews_it_learned_from(html: str, records: list[RunRecord]) -> None:
    data, config = data_of(html), records[0].config
    train = load_subsets(config).train
    texts, labels = list(train["text"]), list(train["label"])
    for epoch in (data["reviews"][:8], data["reviews"][8:]):
        drawn = [place for step in epoch for place in step]
        assert sorted(drawn) == list(range(config.train_size))
        for place in drawn:
            row = place if data["places"] is None else data["places"][place]
            assert texts[row].startswith(data["texts"][place].removesuffix(" …"))
            assert data["labels"][place] == labels[row]
    assert data["reviews"][:8] != data["reviews"][8:]


def altered(records: list[RunRecord], step: int, **changes: Any) -> list[RunRecord]:
    """The same records, Trainer's with another line at one step."""
    lines = [
        {**line, **changes} if line["kind"] == "step" and line["step"] == step else line for line in records[1].lines
    ]
    return [records[0], RunRecord(lines, "altered")]


def test_a_difference_is_marked_where_it_is(records: list[RunRecord]) -> None:
    table = step_table(altered(records, 3, grad_norm=0.5, reviews=[["0" * 16]]), NONE)
    assert table["differs"] == {"3": "grad_norm"}
    assert set(table["trainer"]) == {"grad_norm"} and table["trainer"]["grad_norm"][2] == 0.5
    assert table["trainer_reviews"][2] == [-1]
    shorter = [records[0], RunRecord([line for line in records[1].lines if line.get("step", 0) <= 10], "cut")]
    cut = step_table(shorter, NONE)
    assert cut["count"] == 16 and cut["trainer"]["loss"][10:] == [None] * 6
    # A step that only one loop has is no equal one.
    assert cut["differs"] == {str(step): "number_of_steps" for step in range(11, 17)}


def words(html: str) -> str:
    """What the page says outside its scripts and styles, in one line."""
    return " ".join(re.sub(r"<(script|style).*?</\1>|<[^>]*>", " ", html, flags=re.DOTALL).split())


def test_what_is_true_of_equal_runs_alone_is_said_of_them_alone(
    equal: dict[str, Any], records: list[RunRecord]
) -> None:
    first = {"step": 3, "quantity": "grad_norm", "manual": 1.0, "trainer": 2.0, "rank": 0, "likely_cause": "the clip"}
    parted = words(plain({**equal, "verdict": "diverged", "first_divergence": first}, records))
    for sentence in ("but the two still agree with each other", "Yes."):
        assert sentence in words(plain(equal, records)) and sentence not in parted
    assert "Not quite. The two loops diverge at step 3" in parted and "may diverge at another place" in parted


def test_a_commit_is_named_only_where_it_holds_what_ran(equal: dict[str, Any], records: list[RunRecord]) -> None:
    def at(**machine: Any) -> str:
        return words(plain({**equal, "environment": {**equal["environment"], **machine}}, records))

    assert "In a checkout of SameLoop at abc123 , with the versions" in at(git="abc123")
    assert "In a checkout of SameLoop, with the versions" in at(git=None)
    dirty = at(git="abc123-dirty")
    assert "changes that were not committed, on top of abc123" in dirty and "In a checkout of SameLoop" not in dirty
    assert "manual/code and trainer/code" in dirty
    assert "the weights are equal to these, bit for bit" in at(device="cpu")
    on_gpu = at(device="a GPU")
    assert "the weights are equal to these, bit for bit" not in on_gpu and "--full-determinism" in on_gpu


def test_the_page_names_the_job_and_states_no_ratio_of_few_steps(html: str) -> None:
    text = words(html)
    assert "2 layers, random (1.0 M) on Rotten Tomatoes : 61 training examples" in text
    assert "<title>Identical: 2 layers, random (1.0 M) on Rotten Tomatoes, SameLoop</title>" in html
    assert "too few steps to tell the loops apart; to compare the times, use <code>sameloop speed</code>" in html
    assert "step, median" in text and "Trainer ratio" not in text


def test_numbers_that_json_does_not_know_are_words(equal: dict[str, Any], records: list[RunRecord]) -> None:
    data = data_of(plain(equal, altered(records, 2, loss=math.nan, grad_norm=math.inf)))
    assert data["trainer"]["loss"][1] == "nan" and data["trainer"]["grad_norm"][1] == "inf"


def test_a_review_is_text_whatever_it_contains(equal: dict[str, Any], records: list[RunRecord]) -> None:
    digest = records[0].steps[0]["reviews"][0][0]
    html = plain(equal, records, Reviews({digest: 0}, [ATTACK], [1]))
    page = Page(html)
    assert len(page.scripts) == 2
    assert not any(tag == "img" for tag, _ in page.tags)
    assert data_of(html)["texts"] == [ATTACK]
    assert "<" not in page.scripts[0]


def six_thousand_steps(folder: Path, count: int = 6000) -> str:
    """The page of a run of 6,000 steps, or of more, over 24,000 long reviews."""
    dice = random.Random(0)
    config = RunConfig.build("quick", train_size=24_000).model_dump()
    environment = RunRecord.read(folder / "manual").header["environment"]
    digests = [f"{number:016x}" for number in range(24_000)]
    lines: list[dict[str, Any]] = [
        {"kind": "header", "schema": SCHEMA, "loop": "manual", "config": config, "steps_per_epoch": 3000}
        | {"environment": environment},
    ]
    order: list[str] = []
    for step in range(1, count + 1):
        order = order or dice.sample(digests, len(digests))
        drawn, order = order[:8], order[8:]
        numbers = {"loss": dice.random(), "grad_norm": dice.random(), "learning_rate": 5e-5 * (1 - step / (count + 1))}
        counts = {"samples": 8, "tokens": dice.randint(500, 1024), "padded_tokens": 1024, "memory_mb": 1e3}
        seconds = {"data": 0.01, "forward": dice.random(), "backward": dice.random(), "optimizer": 0.1}
        lines.append({"kind": "step", "step": step, "reviews": [drawn], **numbers, **counts, "seconds": seconds})
    records = [RunRecord([{**lines[0], "loop": loop}, *lines[1:]], loop) for loop in LOOPS]
    length = max(steps.SHORTEST_TEXT, steps.TEXT_BUDGET // 24_000)
    texts = ["".join(dice.choices("abcdefghij éü—", k=length)) for _ in digests]
    texts[1234] = "a review like no other"
    rows = {digest: row for row, digest in enumerate(digests)}
    return plain(read_comparison(folder), records, Reviews(rows, texts, [row % 2 for row in range(24_000)]))


def test_a_page_of_6000_steps_stays_small(comparison_dir: Path) -> None:
    # Without the charts; those of a run as long take 400 kB, see the next test.
    assert len(six_thousand_steps(comparison_dir).encode()) < 2_500_000


def test_of_very_many_steps_the_page_has_some_and_says_so(comparison_dir: Path) -> None:
    html = six_thousand_steps(comparison_dir, 20_000)
    assert len(html.encode()) < 3_000_000
    data = data_of(html)
    assert data["count"] == 20_000 and 6000 < len(data["steps"]) < 8000
    assert (data["steps"][0], data["steps"][-1]) == (1, 20_000)
    assert all(len(column) == len(data["steps"]) for column in data["columns"].values())
    assert f"{len(data['steps']):,} of them are in the table" in html


def test_reviews_are_cut_to_a_length_that_all_fit_in(monkeypatch) -> None:
    config = RunConfig.build("tiny")
    whole = load_reviews(config)
    monkeypatch.setattr(steps, "TEXT_BUDGET", 61 * 40)
    cut = load_reviews(config)
    assert max(map(len, cut.texts)) <= 42 < max(map(len, whole.texts))
    assert whole.rows == cut.rows and len(whole.texts) == 61


def test_data_that_is_gone_is_said_and_the_rest_is_shown(
    equal: dict[str, Any], records: list[RunRecord], tmp_path: Path
) -> None:
    config = RunConfig.build("tiny", dataset=str(tmp_path / "gone.csv"))
    reviews = load_reviews(config)
    assert "there is no such file" in reviews.note and not reviews.texts
    html = plain(equal, records, reviews)
    assert "cannot be loaded again" in html and "There is none: left out" in html
    assert data_of(html)["count"] == 16


def test_of_several_processes_the_first_is_shown_and_said(records: list[RunRecord]) -> None:
    assert "first one" not in step_table(records, NONE)["note"]
    for record in records:
        record.header["world_size"] = 2
    assert "Of 2 processes" in step_table(records, NONE)["note"]


def test_the_command_says_where_the_page_is_or_what_is_wrong(comparison_dir: Path, tmp_path: Path, capsys) -> None:
    assert main(["report", str(tmp_path)]) == 2
    assert "run `sameloop compare` first" in capsys.readouterr().err
    assert main(["report", str(comparison_dir), "--output", str(tmp_path / "no" / "page.html")]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "cannot write" in error and "--output" in error


# The third column ---------------------------------------------------------------------------------

UNDER: tuple[dict[str, Any], ...] = (
    {},
    {"bf16": True, "gradient_accumulation_steps": 4},
    {"train_sampling_strategy": "group_by_length", "eval_strategy": "steps", "eval_steps": 2, "max_steps": 7},
)


def three_columns(config: RunConfig) -> tuple[list[Row], list[Row]]:
    """The rows of the two loops under these settings, and the same with accelerate between them."""
    sources = {loop: folded_source(script, config) for loop, script in scripts_of(config).items()}
    third = folded_source(accelerated_script(), config, accelerate=True)
    return rows_of(sources, None), rows_of({**sources, "accelerate": third}, None)


@pytest.mark.parametrize("settings", UNDER)
def test_the_third_column_is_the_ejected_loop_and_moves_nothing(settings: dict[str, Any]) -> None:
    config = RunConfig.build("tiny", save_strategy="no", **settings)
    two, three = three_columns(config)
    assert [(row.phase, row.manual, row.trainer) for row in three if row.manual or row.trainer or row in two] == [
        (row.phase, row.manual, row.trainer) for row in two
    ]
    script = eject(config, "accelerate").splitlines()
    lines = folded_source(accelerated_script(), config, accelerate=True).splitlines()
    for row in three:
        for number, _ in row.accelerate:
            # What is loaded and saved stands around the script's loop.
            assert row.phase.name in (*HEAD, "data", "model", "save") or lines[number - 1] in script
    numbers = [number for row in three for number, _ in row.accelerate]
    assert sorted(numbers) == sorted(set(numbers))
    assert {lines[number - 1] for number in numbers} | {""} == {*lines, ""}


@pytest.mark.parametrize("settings", UNDER)
def test_a_line_that_both_loops_have_stands_level(settings: dict[str, Any]) -> None:
    """A line that occurs once in each of the two, for the same phase."""
    places_of: dict[str, dict[tuple[str, str], list[int]]] = {"manual": {}, "accelerate": {}}
    for place, row in enumerate(three_columns(RunConfig.build("tiny", save_strategy="no", **settings))[1]):
        for loop, places in places_of.items():
            for _, line in getattr(row, loop):
                places.setdefault((row.phase.name, line), []).append(place)
    ours, theirs = places_of.values()
    once = [(ours[line], theirs[line]) for line in ours if len(ours[line]) == len(theirs.get(line, ())) == 1]
    assert len(once) > 40 and all(ours == theirs for ours, theirs in once)


def test_the_report_has_the_third_column_only_where_it_is_asked_for(
    comparison_dir: Path, html: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def left_out(*_: Any, **__: Any) -> None:
        raise SameLoopError("left out")

    monkeypatch.setattr(report, "xray", left_out)
    monkeypatch.setattr(report, "measure", left_out)
    file = tmp_path / "three.html"
    assert main(["report", str(comparison_dir), "--accelerate", "--output", str(file)]) == 0
    with_it, without = Page(file.read_text(encoding="utf-8")), Page(html)
    lines = [name for name in with_it.lines if name.startswith("accelerate-")]
    assert len(lines) > 60 and {*with_it.lines} - {*lines} == {*without.lines}
    assert "did not run for this report" in words(file.read_text(encoding="utf-8"))
    assert "accelerate-" not in html and "did not run for this report" not in words(html)
    assert 'class="code-rows"' in html and ".three" not in html


def test_there_is_no_third_column_where_accelerate_is_not_proven_equal(
    trained: Trained, tmp_path: Path, refusal: Any
) -> None:
    config = RunConfig.build("tiny", gradient_accumulation_steps=3, num_train_epochs=1)
    folder = compared({loop: trained(loop, config) for loop in LOOPS}, tmp_path / "run")
    assert "power of two" in refusal("report", str(folder), "--accelerate")
    assert not (folder / "report.html").exists()


def test_checkpoints_that_nobody_asked_for_do_not_keep_accelerate_away() -> None:
    quick = RunConfig.build("quick")
    assert quick.save_strategy != "no" and report.beyond_accelerate(quick)
    assert report._beyond_accelerate({}, quick) is None
    assert report._beyond_accelerate({}, RunConfig.build("tiny", save_strategy="epoch"))
    assert report._beyond_accelerate({}, RunConfig.build("quick", load_best_model_at_end=True))
    assert report._beyond_accelerate({"job": {}}, quick)
