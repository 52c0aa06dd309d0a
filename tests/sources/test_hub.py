"""The real Hub path, against a cache filled beforehand and no network."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import datasets
import pytest
from conftest import ran
from datasets.packaged_modules.parquet.parquet import Parquet

from shared.config import RunConfig
from shared.presets import HUB_REVISIONS, PRESETS
from shared.recording.record import RunRecord
from shared.sources import embedded
from shared.sources.hub import hub_is_reachable, needs_hub

MODEL, DATASET = PRESETS["lesson"]["model"], PRESETS["lesson"]["dataset"]


@pytest.fixture(scope="module")
def filled_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hugging Face cache as a download of both repositories at their pinned revisions leaves it."""
    home = tmp_path_factory.mktemp("hf")
    repository = home / "hub" / f"models--{MODEL.replace('/', '--')}"
    snapshot = repository / "snapshots" / HUB_REVISIONS[MODEL]
    shutil.copytree(embedded.checkpoint("embedded-tiny"), snapshot)
    fill_dataset_cache(home, HUB_REVISIONS[DATASET])
    return home


def fill_dataset_cache(home: Path, revision: str) -> None:
    parquet = home / "imdb.parquet"
    embedded.load_reviews("embedded").select([*range(60), *range(12_500, 12_560)]).to_parquet(parquet)
    builder = Parquet(
        cache_dir=str(home / "datasets"),
        dataset_name=DATASET.split("/")[1],
        config_name="plain_text",
        hash=revision,
        data_files={"train": [str(parquet)], "test": [str(parquet)]},
    )
    builder.download_and_prepare()
    # As the Hub's own files would: the configuration's name without a suffix made from local paths.
    prepared = Path(builder.cache_dir)
    prepared.rename(home / "moved")
    target = home / "datasets" / DATASET.replace("/", "___") / "plain_text" / "0.0.0" / revision
    target.parent.mkdir(parents=True, exist_ok=True)
    (home / "moved").rename(target)
    for leftover in target.parents[2].iterdir():
        if leftover.name != "plain_text":
            shutil.rmtree(leftover)


# Commands of one process, one after the other, as they are typed; what each says, and how it ends.
IN_TURN = """
import contextlib, io, json, sys
from benchmarks.cli import main
ends = []
for arguments in json.loads(sys.argv[1]):
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        ends.append([main(arguments), said.getvalue()])
print(json.dumps(ends))
"""
SMALL = ("--train-size", "16", "--eval-size", "8", "--max-length", "16", "--num-train-epochs", "1")


def lessons(home: Path, output_dir: Path, *options: Sequence[str]) -> list[tuple[int, str]]:
    """`sameloop manual --preset lesson` with each of these options, offline, with that cache."""
    lesson = ["manual", "--preset", "lesson", "--output-dir", str(output_dir)]
    commands = json.dumps([[*lesson, *arguments] for arguments in options])
    environment = {**os.environ, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    finished = ran(sys.executable, "-c", IN_TURN, commands, env=environment)
    assert finished.returncode == 0, finished.stderr
    return [(status, errors) for status, errors in json.loads(finished.stdout.splitlines()[-1])]


def test_the_lesson_runs_from_the_cache_and_from_no_other_revision(filled_cache: Path, tmp_path: Path) -> None:
    other, elsewhere = "0" * 40, [*SMALL, "--output-dir", str(tmp_path / "refused")]
    dataset, model, (status, errors) = lessons(
        filled_cache,
        tmp_path / "run",
        [*elsewhere, "--dataset-revision", other],
        [*elsewhere, "--model-revision", other],
        SMALL,
    )
    assert dataset[0] == 2 and f"the cache holds revision {HUB_REVISIONS[DATASET]}, not {other}" in dataset[1]
    assert model[0] == 2 and f"--model {MODEL}" in model[1]
    assert not (tmp_path / "refused").exists()
    assert status == 0, errors
    record = RunRecord.read(tmp_path / "run")
    assert record.config.dataset == "stanfordnlp/imdb"
    assert len(record.steps) == 2


def test_without_network_and_cache_the_line_names_the_quick_preset(tmp_path: Path) -> None:
    ((status, errors),) = lessons(tmp_path / "nothing", tmp_path / "run", ())
    assert status == 2 and not (tmp_path / "run").exists()
    last = errors.splitlines()[-1]
    assert last.startswith("sameloop: error: --dataset stanfordnlp/imdb: the Hub cannot be reached")
    assert "--preset quick" in last
    assert "Traceback" not in errors


def test_only_hub_names_need_the_hub(tmp_path: Path) -> None:
    assert not needs_hub(RunConfig.build("quick"))
    assert not needs_hub(RunConfig.build("tiny", model=str(tmp_path), dataset=str(tmp_path)))
    assert needs_hub(RunConfig.build("quick", model="bert-base-uncased"))
    assert needs_hub(RunConfig.build("quick", dataset="imdb"))


def test_the_probe_asks_the_endpoint_that_is_set(monkeypatch) -> None:
    import socket

    for name in ("HF_HUB_OFFLINE", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        assert hub_is_reachable()
    assert not hub_is_reachable()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert not hub_is_reachable()


def test_the_datasets_library_still_ignores_the_revision_offline() -> None:
    """Why `_check_revision` exists; when this fails, it can go."""
    from datasets.load import CachedDatasetModuleFactory

    assert "revision" not in CachedDatasetModuleFactory.__init__.__code__.co_varnames
    assert datasets.config.HF_HUB_OFFLINE
