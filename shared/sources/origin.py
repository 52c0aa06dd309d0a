"""The splits of a dataset, wherever it is: embedded, in a file, in a folder, on the Hub."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.config import RunConfig, option
from shared.errors import SameLoopError, shown
from shared.presets import HUB_REVISIONS
from shared.sources import embedded
from shared.sources.hub import check_paths, hub_errors
from shared.sources.labels import OTHER_TASKS
from shared.sources.readers import file_format, read_folders, read_split
from shared.sources.splits import Columns, Split, renaming

if TYPE_CHECKING:
    import datasets

# A split of one of these names is evaluated on, the first that is there and has labels.
EVAL_SPLITS = ("validation", "valid", "val", "dev", "eval", "test")
# What the two columns are called in most of the datasets that people bring, in upper or lower case.
USUAL_NAMES = {
    "text_column": ("text", "review", "sentence", "content"),
    "label_column": ("label", "labels", "sentiment"),
}
# In IMDB as Stanford distributes it: texts without a rating.
UNLABELLED = "unsup"
# What `save_to_disk` leaves in a folder.
SAVED = ("dataset_dict.json", "state.json", "dataset_info.json")


def load_splits(config: RunConfig) -> dict[str, Callable[[], Split]]:
    """The dataset's splits by name, each read when it is called; always one called `train`.

    Raises:
        SameLoopError: there is no such dataset, or it has no split called `train`.
    """
    import datasets

    check_paths(config)
    choose = partial(_choose, config)
    if config.dataset in embedded.REVIEW_SOURCES:
        return {"train": lambda: Split(embedded.load_reviews(config.dataset), Columns("text", "label"))}
    path = Path(config.dataset).expanduser()
    readers: dict[str, Callable[[], Split]]
    if path.is_dir() and any((path / name).is_file() for name in SAVED):
        loaded = _saved(path, config.dataset)
        splits = dict(loaded) if isinstance(loaded, datasets.DatasetDict) else {"train": loaded}
        readers = {name: partial(_from_datasets, split, choose) for name, split in splits.items()}
    elif path.is_dir():
        readers = {name: partial(_read_files, files, choose) for name, files in files_of(path).items()}
        readers = readers or {name: partial(read_folders, *folders) for name, folders in text_folders(path).items()}
        if not readers:
            raise SameLoopError(
                f"--dataset {config.dataset}: not a folder that `datasets.save_to_disk` wrote, no train.csv in it "
                "(nor train.jsonl, train.parquet, ...), no train/neg/*.txt; name a file, or name the files after "
                "their splits"
            )
    elif path.is_file():
        readers = {"train": partial(read_split, path, choose)}
    elif path.exists():
        raise SameLoopError(f"--dataset {config.dataset}: it is neither a file nor a folder")
    else:
        revision = config.dataset_revision or HUB_REVISIONS.get(config.dataset)
        with hub_errors("--dataset", config.dataset):
            splits = dict(datasets.load_dataset(config.dataset, config.dataset_config, revision=revision))
        _check_revision(splits, config.dataset, revision)
        readers = {name: partial(_from_datasets, split, choose) for name, split in splits.items()}
    if "train" not in readers:
        raise SameLoopError(
            f"--dataset {config.dataset}: it has no split called `train`, only {shown(', '.join(readers), 200)}; "
            "rename one"
        )
    return readers


def _saved(path: Path, name: str) -> Any:
    import datasets

    try:
        return datasets.load_from_disk(str(path))
    except Exception as error:  # a damaged folder makes its readers raise almost anything
        raise SameLoopError(
            f"--dataset {name}: not a whole folder that `datasets.save_to_disk` wrote ({shown(error, 120)}); save it "
            "again"
        ) from None


def _from_datasets(split: datasets.Dataset, choose: Callable) -> Split:
    """A split of `datasets`, in whichever format it returns its rows."""
    import datasets

    values = (datasets.Value, datasets.ClassLabel)
    nested = {name: str(kind) for name, kind in split.features.items() if not isinstance(kind, values)}
    columns = choose(split.column_names, nested)
    rows = split.with_format(None).select_columns(list(columns)).rename_columns(renaming(columns))
    return Split(rows, columns)


def files_of(folder: Path) -> dict[str, list[Path]]:
    """The files of a folder by the split that each is named after: `train.csv`, `test-00000-of-00002.parquet`."""
    by_split: dict[str, list[Path]] = {}
    places = [folder, folder / "data"]
    for path in sorted(path for place in places if place.is_dir() for path in place.iterdir()):
        split = path.name.partition(".")[0].partition("-")[0].lower()
        if split in ("train", *EVAL_SPLITS) and path.is_file() and file_format(path) is not None:
            by_split.setdefault(split, []).append(path)
    for split, files in by_split.items():
        if len({path.name.partition(".")[2] for path in files}) > 1 or len({path.parent for path in files}) > 1:
            names = shown(", ".join(path.name for path in files))
            raise SameLoopError(f"--dataset {folder}: several files for its split {split} ({names}); keep one")
    return by_split


def text_folders(folder: Path) -> dict[str, tuple[dict[str, list[Path]], list[str]]]:
    """The text files of a folder by split and label, `train/pos/0_9.txt`, and the folders that hold no examples.

    As Stanford distributes IMDB; its `train/unsup` has no labels. A folder without splits is the training split.
    """
    places = {name: folder / name for name in ("train", *EVAL_SPLITS) if (folder / name).is_dir()} or {"train": folder}
    by_split = {}
    for split, place in places.items():
        files = {child.name: sorted(child.glob("*.txt")) for child in sorted(place.iterdir()) if child.is_dir()}
        unused = [name for name, texts in files.items() if not texts or name == UNLABELLED]
        files = {name: texts for name, texts in files.items() if name not in unused}
        if len(files) > 1:
            by_split[split] = files, unused
    return by_split


def _read_files(files: Sequence[Path], choose: Callable) -> Split:
    """One split out of a file, or of several that hold its parts."""
    import datasets

    parts = [read_split(path, choose) for path in files]
    if len(parts) == 1:
        return parts[0]
    return parts[0]._replace(rows=datasets.concatenate_datasets([part.rows for part in parts]), lines=None)


def _choose(config: RunConfig, names: Sequence[str], nested: Mapping[str, str]) -> Columns:
    """The two columns that matter, as `Choose`: those that the settings name, or those with the usual names.

    Args:
        names: all that there are.
        nested: the type of those that hold lists or objects.
    """
    chosen = []
    for setting, usual in USUAL_NAMES.items():
        requested = getattr(config, setting)
        wanted = (requested,) if requested else usual
        for compared in (str, str.casefold):
            fitting = [name for want in wanted for name in names if compared(name) == compared(want)]
            usable = [name for name in fitting if name not in nested]
            if usable:
                break
        if not usable:
            raise _no_column(config, setting, names, nested, fitting)
        if len({name for name in usable if compared(name) == compared(usable[0])}) > 1:
            raise SameLoopError(
                f"--dataset {config.dataset}: its columns {shown(', '.join(usable), 80)} differ in their case only; "
                f"name one with {option(setting)}"
            )
        chosen.append(usable[0])
    if chosen[0] == chosen[1]:
        raise SameLoopError(f"--text-column {shown(chosen[0])}: it is the label's column, too; name two")
    return Columns(*chosen)


def _no_column(
    config: RunConfig, setting: str, names: Sequence[str], nested: Mapping[str, str], fitting: Sequence[str]
) -> SameLoopError:
    available = ", ".join(shown(name) for name in names[:8]) + (", ..." if len(names) > 8 else "")
    column, usual = ("text", "reviews") if setting == "text_column" else ("label", "labels")
    if fitting:
        return SameLoopError(
            f"--dataset {config.dataset}: its column `{shown(fitting[0])}` holds {shown(nested[fitting[0]])}, no "
            f"plain values; name the one with the {usual} with {option(setting)}, of {available}; {OTHER_TASKS}"
        )
    is_pair = setting == "text_column" and any(name.endswith("1") and f"{name[:-1]}2" in names for name in names)
    missing = f"`{shown(getattr(config, setting))}`" if getattr(config, setting) else f"`{column}`"
    return SameLoopError(
        f"--dataset {config.dataset}: it has no column {missing}, only {available}; name the one with the {usual}: "
        f"{option(setting)} NAME{f'; {OTHER_TASKS}' if is_pair else ''}"
    )


def _check_revision(splits: dict[str, datasets.Dataset], name: str, revision: str | None) -> None:
    """Offline, `datasets` serves the newest copy in its cache, even if another revision was requested."""
    cached = {Path(file["filename"]).parent.name for split in splits.values() for file in split.cache_files}
    if revision is not None and len(revision) == 40 and cached != {revision}:
        raise SameLoopError(
            f"--dataset {name}: the cache holds revision {', '.join(sorted(cached))}, not {revision}; connect and "
            "try again, or name the cached one with --dataset-revision"
        )
