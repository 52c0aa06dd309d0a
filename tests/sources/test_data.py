"""The tutorial's pipeline, its sources, and what it says when something is missing."""

from __future__ import annotations

from pathlib import Path

import datasets
import pytest

from shared.config import RunConfig
from shared.data import load_data, load_subsets, sized
from shared.errors import SameLoopError
from shared.model import load_tokenizer
from shared.sources import embedded

ROWS = [{"text": f"review {i}", "label": i % 2} for i in range(20)]


def local(path: Path | str, **settings) -> RunConfig:
    return RunConfig.build("tiny", dataset=str(path), **{"train_size": 12, "eval_size": 8, **settings})


def test_the_training_slice_is_the_tutorials() -> None:
    config = RunConfig.build("quick", slice_seed=0)
    subsets = load_subsets(config)
    tutorial = embedded.load_reviews("embedded").shuffle(seed=0).select(range(512))
    assert subsets.train["text"] == tutorial["text"]
    assert subsets.labels == ["neg", "pos"]


@pytest.mark.parametrize("sizes", [(512, 256), (5000, 3530), (1, 1)])
def test_the_two_slices_share_no_review(sizes: tuple[int, int]) -> None:
    numbered = embedded.load_reviews("embedded-rotten-tomatoes")
    config = RunConfig.build("tiny", train_size=sizes[0], eval_size=sizes[1])
    subsets = load_subsets(config)
    order = numbered.add_column("row", range(len(numbered))).shuffle(seed=0)["row"]
    train, evaluation = order[: sizes[0]], order[-sizes[1] :]
    assert not set(train) & set(evaluation)
    assert subsets.train["text"] == [numbered[row]["text"] for row in train]
    assert subsets.eval["text"] == [numbered[row]["text"] for row in evaluation]


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
    subsets = load_subsets(local(path))
    expected = dataset.shuffle(seed=0)["text"]
    assert subsets.train["text"] == expected[:12]
    assert subsets.eval["text"] == expected[12:]


def test_a_split_to_test_on_is_used(tmp_path: Path) -> None:
    train = datasets.Dataset.from_list(ROWS)
    test = datasets.Dataset.from_list([{"text": f"test {i}", "label": i % 2} for i in range(9)])
    datasets.DatasetDict(train=train, test=test).save_to_disk(tmp_path / "both")
    subsets = load_subsets(local(tmp_path / "both", train_size=20))
    assert sorted(subsets.train["text"]) == sorted(train["text"])
    assert subsets.eval["text"] == test.shuffle(seed=0).select(range(8))["text"]
    with pytest.raises(SameLoopError, match=r"--eval-size 10: .* has only 9 examples in its split test"):
        load_subsets(local(tmp_path / "both", eval_size=10))


def test_all_is_as_many_as_there_are(tmp_path: Path) -> None:
    for split, count in (("train", 12), ("test", 7)):
        rows = "".join(f"text {number},{number % 2}\n" for number in range(count))
        (tmp_path / f"{split}.csv").write_text("text,label\n" + rows)
    both = {"preset": "tiny", "dataset": str(tmp_path), "train_size": "all", "eval_size": "all"}
    assert [sized(both)[name] for name in ("train_size", "eval_size")] == [12, 7]
    single = {**both, "dataset": str(tmp_path / "train.csv")}
    assert sized({**single, "eval_size": 5})["train_size"] == 7
    with pytest.raises(SameLoopError, match="single split"):
        sized(single)


def test_without_shuffle_the_first_rows_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_text("text,label\n" + "".join(f"text {number},{number % 2}\n" for number in range(12)))
    subsets = load_subsets(RunConfig.build("tiny", dataset=str(path), train_size=4, eval_size=2, shuffle=False))
    assert subsets.train[:]["text"] == [f"text {number}" for number in range(4)]
    assert subsets.eval[:]["text"] == ["text 10", "text 11"]
