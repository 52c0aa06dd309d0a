"""The tutorial's gotchas: each shows on the installed release what it says."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import logging
import math
import statistics
from pathlib import Path
from typing import Any

import pytest
from once import read_reviews
from rich.console import Console

from benchmarks.charts.styles import STYLES
from benchmarks.cli import main
from benchmarks.gotchas import gpu, labels, mapping, renamed, size, sorted_subset, weights
from benchmarks.gotchas.base import attempt, quiet
from benchmarks.gotchas.command import GOTCHAS, print_gotcha
from benchmarks.gotchas.size import SIZE_KEPT, Point, Size, sizes_from
from benchmarks.gotchas.size_chart import alt_text, size_chart
from benchmarks.statistics import wilson
from shared import data
from shared.data import tokenized
from shared.determinism import one_thread
from shared.errors import SameLoopError
from shared.releases import INSTALLED
from shared.sources import embedded

SIZES = (16, 48)


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    """Every gotcha but `size`, run in this process and small."""
    return {
        "gpu": gpu.run("tiny", steps=2),
        "map": mapping.run(reviews=40, pairs=2, max_length=32),
        "labels": labels.run(),
        "renamed": renamed.run(),
        "weights": weights.run("embedded-tiny", reviews=100, max_length=32),
        "slice": sorted_subset.run(size=320, evaluated=60),
    }


@pytest.fixture(scope="module")
def sized(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """One `sameloop gotcha size` in this process: its folder and what it printed."""
    folder = tmp_path_factory.mktemp("gotcha") / "size"
    sizes = ",".join(map(str, SIZES))
    status, printed = _run("size", "--sizes", sizes, "--seeds", "2", "--output-dir", str(folder))
    assert status == 0
    return folder, printed


def _run(*arguments: str) -> tuple[int, str]:
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as printed:
        patch.setenv("COLUMNS", "100")
        status = main(["gotcha", *arguments])
    return status, printed.getvalue()


def _printed(name: str, result: Any, width: int = 100) -> str:
    file = io.StringIO()
    print_gotcha(GOTCHAS[name], result, Console(file=file, width=width, highlight=False))
    return file.getvalue()


def _words(text: str) -> str:
    """On one line, because a terminal breaks lines where it must."""
    return " ".join(text.split())


# The list -----------------------------------------------------------------------------------------


def test_the_list_names_all_seven_with_their_titles() -> None:
    status, printed = _run()
    assert status == 0
    rows = printed.splitlines()[2:]
    assert [row.split()[0] for row in rows] == ["size", "gpu", "map", "labels", "renamed", "weights", "slice"]
    for row, gotcha in zip(rows, GOTCHAS.values(), strict=True):
        assert row.split(maxsplit=1)[1].strip() == gotcha.title


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lables"], "there is no gotcha 'lables': labels?; choose one of size, gpu, map"),
        (["map", "--seeds", "2"], "--seeds is for `sameloop gotcha size` alone"),
        (["--output-dir", "x"], "--output-dir is for `sameloop gotcha size` alone"),
        (["size", "--sizes", "64,many"], "'many' is no number"),
        (["size", "--sizes", "1"], "'1' is no number from 2 on"),
        (["size", "--preset", "huge"], "there is no preset 'huge'"),
        (["size", "--output-dir", "tests"], "it holds something else"),
        (["size", "--output-dir", "README.md"], "Not a directory"),
    ],
)
def test_what_a_user_can_get_wrong_is_one_line(
    arguments: list[str], message: str, capfd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    assert main(["gotcha", *arguments]) == 2
    error = capfd.readouterr().err
    assert message in error and error.count("\n") == 1


def test_more_reviews_than_there_are_is_an_error_of_the_option_that_asks_for_them(tmp_path: Path, capfd) -> None:
    assert main(["gotcha", "size", "--sizes", "64,9000", "--output-dir", str(tmp_path / "x")]) == 2
    assert "error: --sizes 9000: embedded-rotten-tomatoes has only 8530 examples" in capfd.readouterr().err
    assert not (tmp_path / "x").exists()


# The results ---------------------------------------------------------------------------------------


def test_labels_of_another_name_give_no_loss_and_the_right_name_trains(results: dict[str, Any]) -> None:
    result = results["labels"]
    assert result.columns == ["sentiment", "input_ids", "attention_mask"]
    assert result.trainer_error.startswith("ValueError: The model did not return a loss from the inputs")
    assert result.call_error is None and not result.has_loss
    assert result.backward_error == "AttributeError: 'NoneType' object has no attribute 'backward'"
    assert result.fixed == {"labels": None, "label": None}
    printed = _words(_printed("labels", result))
    assert result.trainer_error in printed and result.backward_error in printed
    assert printed.count("Trainer trains") == 2


def test_of_an_arguments_two_names_the_installed_release_takes_one_at_least(results: dict[str, Any]) -> None:
    names = results["renamed"]
    assert len(names) == 2 * len(renamed.RENAMED_ARGUMENTS)
    printed = _words(_printed("renamed", results["renamed"]))
    for old, new, known in zip(names[::2], names[1::2], renamed.RENAMED_ARGUMENTS, strict=True):
        assert (old.owner, old.name, new.name) == (known.owner, known.before, known.today)
        assert (new.error is None) == new.in_signature == (known.since <= INSTALLED)
        assert old.error is None or new.error is None
        for name in (old, new):
            wanted = f"TypeError: {name.owner}.__init__() got an unexpected keyword argument '{name.name}'"
            assert name.error in (None, wanted)
            assert (wanted in printed) == (name.error is not None)


def test_the_new_weights_are_the_heads_and_the_notice_names_them(results: dict[str, Any]) -> None:
    result = results["weights"]
    assert result.new == {
        "pre_classifier.weight": 32 * 32,
        "pre_classifier.bias": 32,
        "classifier.weight": 2 * 32,
        "classifier.bias": 2,
    }
    assert result.of_body == 0
    for name in result.new:
        assert name in result.notice
    assert "distilbert." not in result.notice and "newly initialized" in result.notice
    assert "\x1b" not in result.notice
    assert math.isclose(result.share * result.parameters, sum(result.new.values()))
    assert result.parameters > 900_000
    low, high = wilson(result.accuracy * result.reviews, result.reviews)
    assert low < 0.5 < high
    assert _words(result.notice) in _words(_printed("weights", result))


def test_a_body_that_is_new_is_counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A checkpoint without its first layer: the notice must not look as harmless as it is of a head."""
    from safetensors.torch import load_file, save_file
    from transformers import AutoModel, AutoTokenizer

    folder = embedded.checkpoint("embedded-tiny")
    AutoModel.from_pretrained(folder).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    remaining = {name: tensor for name, tensor in state.items() if ".layer.0." not in name}
    assert len(remaining) < len(state)
    save_file(remaining, tmp_path / "model.safetensors", metadata={"format": "pt"})
    monkeypatch.setattr(embedded, "checkpoint", lambda model: tmp_path)
    result = weights.run("embedded-tiny", reviews=8, max_length=16)
    assert result.of_body == len(state) - len(remaining)
    assert len(result.new) == result.of_body + 4


def test_the_notice_is_captured_and_logging_is_as_before(results: dict[str, Any]) -> None:
    from transformers.utils import logging as transformers_logging

    assert results["weights"].notice
    handlers, verbosity = set(logging.getLogger("transformers").handlers), transformers_logging.get_verbosity()
    with weights._notices() as notices:
        transformers_logging.get_logger("transformers.test").warning("one line")
    assert notices.getvalue() == "one line\n"
    assert set(logging.getLogger("transformers").handlers) == handlers
    assert transformers_logging.get_verbosity() == verbosity


@pytest.mark.slow
def test_of_the_pretrained_model_less_than_a_hundredth_is_new() -> None:
    """Evaluates MiniLM on 200 reviews: some 15 s."""
    result = weights.run()
    assert sum(result.new.values()) == 384 * 384 + 384 + 2 * 384 + 2
    assert result.of_body == 0 and result.share < 0.01
    low, high = wilson(result.accuracy * result.reviews, result.reviews)
    assert low < 0.55 and high > 0.45


def test_a_subset_of_the_sorted_set_has_one_class_and_a_perfect_accuracy(results: dict[str, Any]) -> None:
    result = results["slice"]
    assert result.unshuffled == {"neg": 320, "pos": 0}
    assert sum(result.shuffled.values()) == 320 and min(result.shuffled.values()) > 100
    assert result.evaluated == 60
    assert result.accuracy_on_next == 1.0
    assert result.accuracy_on_balanced == 0.5
    printed = _printed("slice", result)
    assert 'split="train[:320]"' in printed and "shuffle(seed=0).select(range(320))" in printed
    assert "100.0%" in printed and "50.0%" in printed


def test_no_review_is_trained_on_and_evaluated_on(monkeypatch: pytest.MonkeyPatch) -> None:
    overlaps: list[tuple[str, set[tuple[int, ...]]]] = []

    def train(config: Any, tokenizer: Any, names: Any, train_dataset: Any, datasets: Any, on: Any) -> list[float]:
        def ids(dataset: Any) -> set[tuple[int, ...]]:
            return {tuple(tokens) for tokens in dataset["input_ids"]}

        for name in on:
            overlaps.append((name, ids(train_dataset) & ids(datasets[name])))
        # Both classes alike.
        assert sum(datasets["balanced"]["labels"]) == 30
        return [0.0 for _ in on]

    monkeypatch.setattr(sorted_subset, "_train", train)
    sorted_subset.run(size=500, evaluated=60)
    assert overlaps == [("after", set()), ("balanced", set()), ("balanced", set())]


def test_both_ways_to_map_give_the_same_tokens(results: dict[str, Any]) -> None:
    result = results["map"]
    assert result.equal and result.is_fast
    assert len(result.factors) == 2 and all(factor > 0 for factor in result.factors)
    assert 40 * 10 < result.tokens <= 40 * 32
    printed = _words(_printed("map", result))
    assert "the tokens are the same" in printed
    assert f"one by one takes {statistics.median(result.factors):.2f} times as long" in printed


def test_other_tokens_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(rows: Any, tokenizer: Any, max_length: int, batched: bool) -> Any:
        return tokenized(rows, tokenizer, max_length if batched else max_length - 1, batched)

    monkeypatch.setattr(data, "tokenized", cut)
    result = mapping.run(reviews=10, pairs=1, max_length=16)
    assert not result.equal
    assert "the tokens are NOT the same" in _words(_printed("map", result))


def test_nothing_is_read_from_a_cache() -> None:
    rows = read_reviews("embedded").select(range(5))
    calls: list[Any] = []

    def tokenizer(text: Any, **_: Any) -> dict[str, Any]:
        calls.append(text)
        return {"input_ids": [[1]] * len(text) if isinstance(text, list) else [1]}

    for batched, count in ((True, 1), (True, 1), (False, 5), (False, 5)):
        calls.clear()
        tokenized(rows, tokenizer, 8, batched)
        assert len(calls) == count and isinstance(calls[0], list) == batched


def test_what_torch_finds_here_is_what_trainer_takes(results: dict[str, Any]) -> None:
    import torch

    result = results["gpu"]
    assert result.cuda_is_available == torch.cuda.is_available()
    assert result.loaded_on == "cpu"
    assert result.trainer_device == result.device
    assert list(result.seconds) == list(dict.fromkeys(("cpu", result.device)))
    assert all(len(seconds) == 2 and min(seconds) > 0 for seconds in result.seconds.values())
    assert (result.forgotten is not None) == result.has_gpu
    printed = _words(_printed("gpu", result))
    assert _words(result.doctor) in printed
    assert ("there is no GPU here" in printed) == (not result.has_gpu)


def test_with_a_gpu_the_times_and_the_forgotten_line_are_shown(results: dict[str, Any]) -> None:
    from dataclasses import replace

    with_gpu = replace(
        results["gpu"],
        device="cuda",
        trainer_device="cuda",
        cuda_is_available=True,
        forgotten="RuntimeError: on two devices",
        seconds={"cpu": [3.0, 4.0, 5.0], "cuda": [0.5, 0.5, 0.5]},
    )
    printed = _words(_printed("gpu", with_gpu))
    assert "there is no GPU" not in printed
    assert "the CPU takes 8.0 times as long" in printed and "RuntimeError: on two devices" in printed


@pytest.mark.parametrize("width", [60, 120])
def test_each_obeys_the_terminals_width_and_ends_with_its_lesson(
    width: int, results: dict[str, Any], sized: tuple[Path, str]
) -> None:
    for name, result in {**results, "size": SIZE_KEPT.read(sized[0])}.items():
        printed = _printed(name, result, width)
        assert max(map(len, printed.splitlines())) <= width, name
        assert _words(printed).endswith(f"Take home: {GOTCHAS[name].lesson}")
        assert _words(GOTCHAS[name].tutorial) in _words(printed)


def test_quiet_and_one_thread_end_with_their_block(capfd) -> None:
    import torch
    from transformers.utils import logging as transformers_logging

    before = torch.get_num_threads(), transformers_logging.get_verbosity()
    torch.set_num_threads(2)
    try:
        with contextlib.suppress(KeyError), quiet(), one_thread():
            assert torch.get_num_threads() == 1
            print("printed inside")
            transformers_logging.get_logger("transformers.test").warning("printed inside")
            raise KeyError
        assert torch.get_num_threads() == 2
        assert transformers_logging.get_verbosity() == before[1]
    finally:
        torch.set_num_threads(before[0])
    print("printed outside")
    output = capfd.readouterr()
    assert output.out == "printed outside\n" and not output.err


def test_a_refusal_is_what_python_prints() -> None:
    assert attempt(lambda: {}["x"]) == "KeyError: 'x'"
    assert attempt(lambda: None) is None


# The size setting ------------------------------------------------------------------------------------


def test_the_size_setting_leaves_its_numbers_and_its_chart(sized: tuple[Path, str]) -> None:
    folder, printed = sized
    assert sorted(path.name for path in folder.iterdir()) == ["size.alt.txt", "size.json", "size.png"]
    setting = SIZE_KEPT.read(folder)
    assert [point.size for point in setting.points] == list(SIZES)
    assert setting.seeds == 2 and setting.eval_size == 1000 and setting.epochs == 4
    for point in setting.points:
        assert all(seconds > 0 for seconds in point.seconds)
        low, high = setting.interval(point)
        assert low < point.accuracy < high
        row = next(line for line in printed.splitlines() if f" {point.size} │" in line)
        assert f"{point.accuracy:.1%}" in row and f"± {100 * point.spread:.1f}" in row
        assert f"{100 * low:.1f} to {100 * high:.1f} %" in row
    assert json.loads((folder / "size.json").read_text())["schema"] == SIZE_KEPT.schema
    assert (folder / "size.png").stat().st_size > 20_000
    assert (folder / "size.alt.txt").read_text() == alt_text(setting)


def test_the_chart_can_be_drawn_again_in_another_style(sized: tuple[Path, str], tmp_path: Path, capfd) -> None:
    output = tmp_path / "curve.svg"
    assert main(["plot", str(sized[0]), "--kind", "size", "--style", "dark", "--output", str(output)]) == 0
    assert "training reviews" in output.read_text()
    assert (tmp_path / "curve.alt.txt").read_text() == (sized[0] / "size.alt.txt").read_text()
    assert main(["plot", str(sized[0]), str(sized[0]), "--kind", "size"]) == 2
    assert main(["plot", str(tmp_path), "--kind", "size"]) == 2
    assert main(["plot", str(sized[0]), "--kind", "size", "--output", str(tmp_path / "absent" / "x.png")]) == 2
    errors = capfd.readouterr().err
    assert "draws one folder, not 2" in errors and "holds no size.json" in errors and "cannot write" in errors


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 0},
        {"points": []},
        {"points": [{"size": 5}]},
        {"points": [{"size": 5, "seconds": [], "accuracies": []}]},
        {"eval_size": 0},
        {"eval_size": None},
    ],
)
def test_a_damaged_file_is_one_line(change: dict[str, Any], sized: tuple[Path, str], tmp_path: Path) -> None:
    content = json.loads((sized[0] / "size.json").read_text())
    (tmp_path / "size.json").write_text(json.dumps({**content, **change}))
    with pytest.raises(SameLoopError, match="is damaged, or of another version"):
        SIZE_KEPT.read(tmp_path)


def test_a_smaller_subset_is_the_beginning_of_a_larger_and_all_are_evaluated_alike(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from manual_loop import minimal

    calls: list[tuple[int, list, list, bytes]] = []

    def train(model: Any, tokenizer: Any, train_dataset: Any, eval_dataset: Any, config: Any) -> list[dict]:
        head = model.classifier.weight.detach().numpy().tobytes()
        calls.append((config.seed, train_dataset["input_ids"][:], eval_dataset["input_ids"][:], head))
        assert config.train_size == len(train_dataset)
        return [{"eval_accuracy": 0.1}, {"eval_accuracy": 0.5 + 0.1 * config.seed}]

    monkeypatch.setattr(minimal, "train", train)
    setting = size.run("tiny", (8, 24), 2, eval_size=12)
    assert [(seed, len(trained)) for seed, trained, _, _ in calls] == [(0, 8), (1, 8), (0, 24), (1, 24)]
    assert calls[2][1][:8] == calls[0][1]
    assert all(evaluated == calls[0][2] and len(evaluated) == 12 for _, _, evaluated, _ in calls)
    # A seed is a head of its own, the same one for every size.
    assert calls[0][3] == calls[2][3] != calls[1][3]
    assert [point.accuracies for point in setting.points] == [[0.5, 0.6], [0.5, 0.6]]


def test_a_single_seed_has_no_spread() -> None:
    setting = Size("a model on reviews", [Point(64, [1.0], [0.5])], 1, 100, {}, {})
    printed = _printed("size", setting)
    assert "1 epoch, 1 seed each" in printed
    assert next(line for line in printed.splitlines() if " 64 │" in line).split("│")[4].strip() == "-"


def test_sizes_are_sorted_and_each_is_trained_once() -> None:
    assert sizes_from("500, 64,500") == (64, 500)


@pytest.mark.parametrize(
    ("style", "sizes"), itertools.product(("slide", "paper"), ((64,), (64, 125, 250, 500, 1000, 2000), range(10, 40)))
)
def test_no_words_of_the_chart_leave_it_or_lie_on_another(style: str, sizes: Any) -> None:
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    environment = dict.fromkeys(("torch", "transformers", "accelerate", "python", "device"), "1.0")
    points = [Point(count, [count / 100, count / 90], [0.5, 0.6]) for count in sizes]
    setting = Size("2 layers, random (1.0 M) on Rotten Tomatoes", points, 4, 1000, {}, {**environment, "threads": 1})
    figure = size_chart(setting, style)
    figure.lay_out()
    with matplotlib.rc_context(STYLES[style].settings()):
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        renderer = canvas.get_renderer()
        drawn = figure.get_tightbbox(renderer)  # in inches
        assert drawn.x0 >= 0 and drawn.y0 >= 0
        assert drawn.x1 <= STYLES[style].size[0] and drawn.y1 <= STYLES[style].size[1]
        numbers = [label.get_window_extent(renderer) for label in figure.axes[0].get_xticklabels() if label.get_text()]
        assert numbers
        numbers.sort(key=lambda box: box.x0)
        for before, after in itertools.pairwise(numbers):
            assert before.x1 < after.x0
