"""The tutorial's pipeline, its sources, and what it says when something is missing."""

from __future__ import annotations

from pathlib import Path

import datasets
import pytest

from shared import embedded
from shared.config import RunConfig
from shared.data import load_data, load_slices
from shared.errors import SameLoopError
from shared.model import load_model, load_tokenizer

ROWS = [{"text": f"review {i}", "label": i % 2} for i in range(20)]


def local(path: Path | str, **dials) -> RunConfig:
    return RunConfig.build("tiny", dataset=str(path), **{"train_size": 12, "eval_size": 8, **dials})


def test_the_training_slice_is_the_tutorials() -> None:
    config = RunConfig.build("quick", slice_seed=0)
    slices = load_slices(config)
    tutorial = embedded.load_reviews("embedded").shuffle(seed=0).select(range(512))
    assert slices.train["text"] == tutorial["text"]
    assert slices.num_labels == 2


@pytest.mark.parametrize("sizes", [(512, 256), (5000, 3530), (1, 1)])
def test_the_two_slices_share_no_review(sizes: tuple[int, int]) -> None:
    numbered = embedded.load_reviews("embedded-rotten-tomatoes")
    config = RunConfig.build("tiny", train_size=sizes[0], eval_size=sizes[1])
    slices = load_slices(config)
    order = numbered.add_column("row", range(len(numbered))).shuffle(seed=0)["row"]
    train, evaluation = order[: sizes[0]], order[-sizes[1] :]
    assert not set(train) & set(evaluation)
    assert slices.train["text"] == [numbered[row]["text"] for row in train]
    assert slices.eval["text"] == [numbered[row]["text"] for row in evaluation]


def test_tokenized_slices_have_what_the_model_takes_and_no_padding() -> None:
    config = RunConfig.build("tiny", max_length=10)
    data = load_data(config, load_tokenizer(config))
    assert set(data.train_dataset.column_names) == {"input_ids", "attention_mask", "labels"}
    lengths = [len(ids) for ids in data.train_dataset["input_ids"]]
    assert max(lengths) == 10 and min(lengths) < 10
    assert all(ids[0] == 101 and ids[-1] == 102 for ids in data.train_dataset["input_ids"])


@pytest.mark.parametrize("kind", ["csv", "json", "jsonl", "parquet", "folder"])
def test_local_sources_give_the_same_slices(kind: str, tmp_path: Path) -> None:
    dataset = datasets.Dataset.from_list(ROWS)
    path = tmp_path / f"reviews.{kind}"
    {
        "csv": dataset.to_csv,
        "json": dataset.to_json,
        "jsonl": dataset.to_json,
        "parquet": dataset.to_parquet,
        "folder": dataset.save_to_disk,
    }[kind](str(path))
    slices = load_slices(local(path))
    expected = dataset.shuffle(seed=0)["text"]
    assert slices.train["text"] == expected[:12]
    assert slices.eval["text"] == expected[12:]


def test_a_split_to_test_on_is_used(tmp_path: Path) -> None:
    train = datasets.Dataset.from_list(ROWS)
    test = datasets.Dataset.from_list([{"text": f"test {i}", "label": i % 2} for i in range(9)])
    datasets.DatasetDict(train=train, test=test).save_to_disk(tmp_path / "both")
    slices = load_slices(local(tmp_path / "both", train_size=20))
    assert sorted(slices.train["text"]) == sorted(train["text"])
    assert slices.eval["text"] == test.shuffle(seed=0).select(range(8))["text"]
    with pytest.raises(SameLoopError, match=r"--eval-size 10: .* has only 9 reviews to test on"):
        load_slices(local(tmp_path / "both", eval_size=10))


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"review": "a", "label": 0}], r"no column `text`, only review, label; rename one .*rename_column"),
        ([{"text": "a", "stars": 0}], r"no column `label`, only text, stars; rename one .*rename_column"),
        ([{"text": "a", "label": "good"}], r"labels must be the integers 0, 1, .* not 'good'.*class_encode_column"),
        ([{"text": "a", "label": 0.5}], "labels must be the integers"),
        ([{"text": "a", "label": -1}, {"text": "b", "label": 0}], "labels must be the integers"),
        ([{"text": "a", "label": 1}, {"text": "b", "label": 3}], "labels must be the integers"),
        ([{"text": "a", "label": 0}, {"text": "b", "label": 0}], "all labels are 0"),
        (ROWS[:10], "--train-size 12: .* has only 10 reviews"),
        (ROWS[:15], "--train-size 12 and --eval-size 8 add up to more than the 15 reviews"),
    ],
)
def test_unusable_reviews_are_one_clear_line(rows: list[dict], said: str, tmp_path: Path) -> None:
    path = tmp_path / "reviews.parquet"
    datasets.Dataset.from_list(rows).to_parquet(path)
    with pytest.raises(SameLoopError, match=said):
        load_slices(local(path))


def test_unreadable_sources_are_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 cut short")
    (tmp_path / "broken.jsonl").write_text('{"text": "a", "label": ')
    (tmp_path / "reviews.txt").write_text("hello")
    for name, said in {
        "missing.csv": "there is no such file or folder",
        "empty": "not a folder that `datasets.save_to_disk` wrote",
        "broken.parquet": "not a readable parquet file",
        "broken.jsonl": "not a readable json file",
        "reviews.txt": "cannot tell its format",
    }.items():
        with pytest.raises(SameLoopError, match=said) as caught:
            load_slices(local(tmp_path / name))
        assert "\n" not in str(caught.value)


def test_unusable_models_are_one_clear_line(tmp_path: Path) -> None:
    empty, weightless = tmp_path / "empty", tmp_path / "weightless"
    empty.mkdir()
    weightless.mkdir()
    (weightless / "config.json").write_text('{"model_type": "distilbert"}')
    (tmp_path / "file").touch()
    for name, said in {
        "missing/but/deep": "there is no such folder",
        "empty": "no readable config.json",
        "weightless": "no .safetensors weights",
        "file": "is a file, not a model folder",
    }.items():
        with pytest.raises(SameLoopError, match=said):
            load_model(RunConfig.build("tiny", model=str(tmp_path / name)), num_labels=2)
    with pytest.raises(SameLoopError, match="takes 512 tokens at most"):
        load_model(RunConfig.build("tiny", max_length=513), num_labels=2)
