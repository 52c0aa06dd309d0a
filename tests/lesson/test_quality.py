"""Is it any good: the models' own answers, the figures that are made of them, and the section of the report."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from build import header, record_of
from conftest import LOOPS, compared, run_in_process
from html_page import ATTACK, Page
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from once import read_reviews

from benchmarks.lesson import quality as lesson
from benchmarks.lesson.answers import answer, load_model
from benchmarks.lesson.bag import bag_of_words
from benchmarks.lesson.quality import Baseline, Paired, Quality, class_score, measure, rated, scored
from benchmarks.lesson.report import TEMPLATES
from benchmarks.statistics import mcnemar, wilson
from shared.config import RunConfig
from shared.errors import SameLoopError
from shared.files import digest_of_file, sha256, write_json
from shared.recording.record import RunRecord
from shared.releases import SEEDS_EVALUATION_ORDER


@pytest.fixture(scope="module")
def measured(tiny_comparison: Path) -> Quality:
    """The quality of the tiny comparison."""
    return measure(tiny_comparison)


def record(accuracies: tuple[float, ...] = (), **settings: Any) -> RunRecord:
    """A record that says what its loop has reported."""
    log = [{"eval_loss": 0.5, "eval_accuracy": value, "epoch": n, "step": n} for n, value in enumerate(accuracies, 1)]
    return record_of(header(**settings), {"kind": "footer", "log_history": log})


# The figures -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_intervals_are_the_published_ones(right: int, count: int, low: float, high: float) -> None:
    assert wilson(right, count) == pytest.approx((low, high), abs=6e-5)
    # What is right and what is wrong change places.
    assert wilson(count - right, count) == pytest.approx((1 - high, 1 - low), abs=6e-5)


def test_256_reviews_say_some_five_points() -> None:
    rate = rated(210, 256)
    assert rate.sentence().startswith(
        "The model classifies 82.0 % of the 256 examples correctly; the 95 % confidence interval is 76.9 to 86.2 %"
    )
    assert rated(20, 20).high == 1 and rated(0, 20).low == 0


@pytest.mark.parametrize(
    ("one", "other", "chance"), [(0, 0, 1), (5, 0, 2 / 32), (10, 2, 2 * (1 + 12 + 66) / 4096), (3, 3, 1)]
)
def test_the_paired_test_is_exact(one: int, other: int, chance: float) -> None:
    assert mcnemar(one, other) == mcnemar(other, one) == chance


def test_the_paired_test_takes_large_numbers() -> None:
    # As the normal distribution has it: 1,000 apart of 25,000 is 6.3 standard deviations.
    assert 1e-10 < mcnemar(12_000, 13_000) < 1e-9
    assert mcnemar(12_490, 12_510) > 0.8


def test_what_is_said_of_a_difference_follows_from_the_test() -> None:
    better, worse, open_ = Paired(30, 9, mcnemar(30, 9)), Paired(9, 30, mcnemar(9, 30)), Paired(30, 26, 0.69)
    assert better.sentence("bag of words").startswith(
        "The model is better than the bag of words. On 30 examples only the model is right"
    )
    assert worse.sentence("bag of words").startswith("The bag of words is better than the model. ")
    assert open_.sentence("bag of words").startswith(
        "This validation set is too small to say whether the model is better than the bag of words. "
    )
    assert "in 69.0 % of such tests" in open_.sentence("bag of words")
    assert "less than 0.1 %" in Paired(50, 0, mcnemar(50, 0)).sentence("bag of words")


def test_precision_recall_and_f1_of_three_classes_and_where_there_are_none() -> None:
    confusion = [[5, 1, 0], [2, 4, 0], [0, 0, 0]]
    first, second, third = (class_score(confusion, number, name) for number, name in enumerate("abc"))
    assert (first.reviews, first.precision, first.recall) == (6, 5 / 7, 5 / 6)
    assert first.f1 == pytest.approx(2 / (7 / 5 + 6 / 5))
    assert (second.precision, second.recall) == (4 / 5, 4 / 6)
    assert (third.reviews, third.precision, third.recall, third.f1) == (0, None, None, None)
    # It is never named, but it occurs: it has an F1 of 0.
    never = class_score([[3, 0], [2, 0]], 1, "b")
    assert (never.precision, never.recall, never.f1) == (None, 0.0, 0.0)


def test_answers_are_counted_by_class_and_the_surest_errors_come_first() -> None:
    logits = torch.tensor([[3.0, 0, 0], [0, 0, 1], [2, 0, 0], [0, 9, 0], [0, 0, 5], [0, 8, 0]])
    texts = ["right", "a", "b " * 300, "c", "right", "d"]
    answers = scored(logits, [0, 1, 1, 0, 2, 0], texts, ["x", "y", "z"], loss=0.5, record=record())
    assert answers.confusion == [[1, 2, 0], [1, 0, 1], [0, 0, 1]]
    assert (answers.rate.right, answers.rate.count, answers.has_gaps) == (2, 6, False)
    assert [(wrong.place, wrong.truth, wrong.said) for wrong in answers.wrong] == [
        (3, "x", "y"),
        (5, "x", "y"),
        (2, "y", "x"),
        (1, "y", "z"),
    ]
    assert answers.wrong[0].probability == pytest.approx(float(logits[3].softmax(0)[1]))
    assert answers.wrong[2].text.endswith(" …") and len(answers.wrong[2].text) < 310
    many = scored(torch.tensor([[1.0, 0.0]] * 9), [1] * 9, ["t"] * 9, ["x", "y"], loss=0.5, record=record())
    assert len(many.wrong) == 5 and many.has_gaps


def test_another_accuracy_than_the_loop_has_reported_is_said() -> None:
    def note(*accuracies: float, **settings: Any) -> str:
        logits = torch.tensor([[1.0, 0.0]] * 4)
        run = record(accuracies=accuracies, **settings)
        return scored(logits, [0, 0, 0, 1], ["t"] * 4, ["x", "y"], loss=0.5, record=run).note

    assert note(0.5, 0.75) == note() == ""
    assert "has reported 50.0 % at last: the reason is not known" in note(0.75, 0.5)
    best = {"load_best_model_at_end": True, "save_strategy": "epoch"}
    assert note(0.75, 0.5, **best) == ""
    assert "--dataloader-drop-last" in note(1.0, dataloader_drop_last=True)
    assert "its evaluation differs" in note(1.0, loop="mine.py")


# What is to be beaten ----------------------------------------------------------------------------------

GOOD, BAD = (
    ("a great warm film", "great acting", "warm and great"),
    ("a dull cold film", "dull acting", "cold and dull"),
)


def test_a_bag_of_words_learns_words_and_nothing_of_their_order() -> None:
    texts = ["dull", "GREAT!", "cold, warm? dull: cold", "no word that is known"]
    assert bag_of_words([*GOOD, *BAD], [1] * 3 + [0] * 3, texts[:3], 2) == [0, 1, 0]
    assert bag_of_words([*GOOD, *BAD[:1]], [1] * 3 + [0], texts, 2)[3] == 1  # the commoner class
    three = bag_of_words(
        [*GOOD, *BAD, "so so", "so it goes so"], [1] * 3 + [0] * 3 + [2] * 2, ["so", "dull", "great"], 3
    )
    assert three == [2, 0, 1]
    assert bag_of_words(["?", "!"], [0, 1], ["x"], 2) in ([0], [1])  # no word at all


def test_a_bag_of_words_is_scikit_learns() -> None:
    """Right answers and answers `pos` as counted of scikit-learn 1.9.1; held against it where it is installed."""
    reviews = read_reviews("embedded-rotten-tomatoes").shuffle(seed=0)
    train, validation = reviews.select(range(500)), reviews.select(range(500, 900))
    predictions = bag_of_words(train["text"], train["label"], validation["text"], 2)
    assert (sum(map(int.__eq__, predictions, validation["label"])), sum(predictions)) == (261, 158)
    text = pytest.importorskip("sklearn.feature_extraction.text")
    linear = pytest.importorskip("sklearn.linear_model")
    words = text.TfidfVectorizer()
    model = linear.LogisticRegression(max_iter=1000, tol=1e-8).fit(words.fit_transform(train["text"]), train["label"])
    assert predictions == model.predict(words.transform(validation["text"])).tolist()


# A comparison ------------------------------------------------------------------------------------------


def test_the_models_answer_as_their_loops_have_reported(measured: Quality, tiny_comparison: Path) -> None:
    config = RunRecord.read(tiny_comparison / "manual").config
    for loop in LOOPS:
        answers, log = measured.loops[loop], RunRecord.read(tiny_comparison / loop).log_history
        last = [line for line in log if "eval_loss" in line][-1]
        assert answers.rate.accuracy == last["eval_accuracy"] and answers.loss == last["eval_loss"]
        assert answers.note == ""
        assert sum(map(sum, answers.confusion)) == measured.count == config.eval_size
        assert sum(answers.confusion[n][n] for n in range(2)) == answers.rate.right
        assert [score.name for score in answers.classes] == ["neg", "pos"]
        assert 0 < len(answers.wrong) == min(5, measured.count - answers.rate.right)
    assert measured.is_one_model and measured.same_answers == config.eval_size and measured.precision == "float32"
    assert "bit for bit" in measured.agreement()


def test_baselines_are_held_against_the_model_review_by_review(measured: Quality, tiny_comparison: Path) -> None:
    commonest, words = measured.baselines
    assert (commonest.name, words.name) == ("most frequent class", "bag of words")
    config = RunRecord.read(tiny_comparison / "manual").config
    subsets = lesson.prepared_subsets(config)
    most = max((0, 1), key=subsets.train["label"].count)
    assert commonest.rate.right == subsets.eval["label"].count(most)
    assert subsets.labels[most] in commonest.what
    for baseline in measured.baselines:
        for loop, paired in baseline.against.items():
            gained = paired.only_model - paired.only_baseline
            assert gained == measured.loops[loop].rate.right - baseline.rate.right
            assert paired.chance == mcnemar(paired.only_model, paired.only_baseline)


def test_it_is_kept_and_taken_only_for_the_same_weights(
    measured: Quality, tiny_comparison: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    shutil.copytree(tiny_comparison, run)
    assert lesson.QUALITY.read(run) == measured
    monkeypatch.setattr(lesson, "_measure", lambda folder, of: pytest.fail("measured again"))
    assert measure(run) == measured
    content = json.loads((run / "quality.json").read_text())
    content["of"]["trainer"][0] = "0" * 64
    write_json(run / "quality.json", content)
    monkeypatch.setattr(lesson, "_measure", lambda folder, of: measured)
    assert lesson.QUALITY.read(run) != measured
    assert measure(run) == measured == lesson.QUALITY.read(run)


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"schema": 0}', '{"schema": 1, "of": 3}'])
def test_a_damaged_file_is_as_good_as_none(
    damage: str, tiny_comparison: Path, measured: Quality, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(tiny_comparison, run)
    (run / "quality.json").write_text(damage)
    monkeypatch.setattr(lesson, "_measure", lambda folder, of: measured)
    assert measure(run) == measured == lesson.QUALITY.read(run)


def test_settings_of_the_evaluation_are_kept_to(tmp_path: Path) -> None:
    """16 bits, smoothed labels, another order, and the weights of the best evaluation: the loss tells them all."""
    settings = {"bf16": True, "label_smoothing_factor": 0.2}
    if SEEDS_EVALUATION_ORDER:  # in older releases the groups of an evaluation cannot be drawn a second time
        settings["train_sampling_strategy"] = "group_by_length"
    best = {"load_best_model_at_end": True, "save_strategy": "epoch"}
    config = RunConfig.build("tiny", **settings, **best)
    runs = {loop: run_in_process(loop, config, tmp_path / loop) for loop in LOOPS}
    quality = measure(compared(runs, tmp_path / "run"))
    log = [line for line in RunRecord.read(runs["manual"]).log_history if "eval_loss" in line]
    best_line = min(log, key=lambda line: line["eval_loss"])
    assert best_line is not log[-1], "the last evaluation is the best: nothing is tested"
    for answers in quality.loops.values():
        assert (answers.loss, answers.rate.accuracy) == (best_line["eval_loss"], best_line["eval_accuracy"])
    assert quality.precision == "bfloat16" and quality.is_one_model


def test_logits_are_in_the_slices_order_whatever_the_batches(tiny_comparison: Path) -> None:
    folder = tiny_comparison / "manual"
    config = RunRecord.read(folder).config
    grouped = config.model_copy(update={"train_sampling_strategy": "group_by_length"})
    model, subsets = load_model(folder), lesson.prepared_subsets(config)
    model.classifier.weight.data *= 1e4  # the tiny model's answers are too much alike
    logits, other = (answer(model, folder, subsets, settings)[0] for settings in (config, grouped))
    torch.testing.assert_close(logits, other, atol=0.01, rtol=0)
    assert (logits.std(dim=0) > 0.1).all(), "all logits are alike: nothing is tested"


def changed(run: Path, loop: str, file: str, content: bytes) -> None:
    """Change a file of a run, and let its comparison say that it was so."""
    (run / loop / file).write_bytes(content)
    comparison = json.loads((run / "comparison.json").read_text())
    comparison[loop]["weights_sha256"] = sha256(run / loop / "model.safetensors")
    comparison[loop]["record"] = digest_of_file(run / loop / "record.jsonl")
    write_json(run / "comparison.json", comparison)


@pytest.fixture
def run(tiny_comparison: Path, tmp_path: Path) -> Path:
    """A copy of the tiny comparison, of which nothing has been measured."""
    return shutil.copytree(tiny_comparison, tmp_path / "run", ignore=shutil.ignore_patterns("quality.json"))


def test_what_cannot_be_measured_is_one_line(run: Path) -> None:
    def line() -> str:
        with pytest.raises(SameLoopError) as caught:
            measure(run)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    whole = (run / "trainer" / "config.json").read_bytes()
    changed(run, "trainer", "config.json", b"{}")
    assert f"the model in {run / 'trainer'} cannot be loaded" in line()
    (run / "trainer" / "config.json").write_bytes(whole.replace(b'"n_layers": 2', b'"n_layers": 3'))
    assert "lacks 16 weights" in line()
    (run / "trainer" / "config.json").write_bytes(whole)
    # The tokenizer of the run is the one of the model it began with.
    (run / "trainer" / "tokenizer_config.json").unlink()
    assert measure(run).is_one_model
    (run / "quality.json").unlink()
    for loop in LOOPS:
        content = (run / loop / "record.jsonl").read_bytes()
        changed(run, loop, "record.jsonl", re.sub(rb'"eval": "\w{32}"', b'"eval": "' + b"0" * 32 + b'"', content))
    assert "the data of --dataset embedded-rotten-tomatoes has changed since" in line()
    (run / "manual" / "model.safetensors").unlink()
    assert "has changed since" in line()
    (run / "comparison.json").unlink()
    assert "run `sameloop compare` first" in line()


def test_two_models_that_differ_are_told_apart(run: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(run / "manual" / "model.safetensors")
    weights["classifier.bias"] += torch.tensor([-1.0, 1.0])
    save_file(weights, run / "other", metadata={"format": "pt"})
    changed(run, "manual", "model.safetensors", (run / "other").read_bytes())
    quality = measure(run)
    assert not quality.is_one_model and quality.same_logits == 0
    assert quality.same_answers < quality.count and "0 all logits are equal" in quality.agreement()
    ours, theirs = (quality.loops[loop].rate.right for loop in LOOPS)
    assert ours != theirs and "has reported" in quality.loops["manual"].note and not quality.loops["trainer"].note
    page = section(quality)
    assert page.count("<caption>Class by class, ") == 2 and "Class by class, manual" in page


# The section -------------------------------------------------------------------------------------------


def section(quality: Quality | None, why: str = "") -> str:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("quality.html").render(quality=quality, why_no_quality=why)


def test_the_section_says_the_figures(measured: Quality) -> None:
    html = section(measured)
    elements, text = Page(html).tags, html.replace("\u00a0", " ").replace("&nbsp;", " ")
    assert [attributes for tag, attributes in elements if tag == "section"] == [
        {"id": "quality", "aria-labelledby": "quality-title"}
    ]
    assert f"{measured.loops['manual'].rate.sentence()}." in text
    assert "manual" not in text
    cells = re.findall(r'<td class="(?:exact|wrong|none)">([\d,]+)</td>', html)
    assert [int(each) for each in cells] == [each for row in measured.loops["manual"].confusion for each in row]
    assert html.count("<q>") == len(measured.loops["manual"].wrong)
    for baseline in measured.baselines:
        rate = baseline.rate
        assert f"{100 * rate.low:.1f} to {100 * rate.high:.1f} %" in text and baseline.what in text
    assert measured.agreement().replace("'", "&#39;") in html


def test_the_section_can_be_read_by_a_screen_reader(measured: Quality) -> None:
    elements = Page(section(measured)).tags
    assert all("scope" in attributes for tag, attributes in elements if tag == "th")
    assert sum(tag == "caption" for tag, _ in elements) == sum(tag == "table" for tag, _ in elements) == 3
    regions = [attributes for _, attributes in elements if attributes.get("role") == "region"]
    assert len({area["aria-label"] for area in regions}) == 3 and all(area["tabindex"] == "0" for area in regions)


def test_reviews_and_names_of_classes_cannot_break_out(measured: Quality) -> None:
    logits = torch.tensor([[9.0, 0.0, 0.0]] * 4)
    answers = scored(logits, [0, 1, 2, 2], [ATTACK] * 4, [ATTACK, "b", "c"], loss=0.5, record=record())
    paired = dict.fromkeys(LOOPS, Paired(1, 1, 1.0))
    baseline = Baseline("commonest class", f"always {ATTACK}", rated(1, 4), paired)
    quality = Quality({}, "float32", dict.fromkeys(LOOPS, answers), 4, 4, [baseline])
    html = section(quality)
    assert {tag for tag, _ in Page(html).tags}.isdisjoint({"script", "img"})
    assert html.count("&lt;script&gt;") >= 4 and "<script" not in html


def test_without_figures_the_section_says_why() -> None:
    html = section(None, "the reviews of --dataset <mine>.csv have changed since")
    assert "It was not measured: the reviews of --dataset &lt;mine&gt;.csv have changed since" in html
    assert [tag for tag, _ in Page(html).tags] == ["section", "h2", "p"]
