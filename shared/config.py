"""Every dial of a run, declared once.

`RunConfig` is where a dial's name, type, default, bounds and meaning live. The command line, both
loops, the record on disk and the table of dials in the README are all derived from it. Dials that
`transformers.TrainingArguments` has too carry the name and the default they have there.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from shared.errors import SameLoopError

Preset = Literal["tiny", "quick", "lesson", "full"]

# The Hub repositories that the presets name, each pinned to one commit.
HUB_REVISIONS = {
    "imdb": "e6281661ce1c48d982bc483cf8a173c1bbeb5d31",
    "stanfordnlp/imdb": "e6281661ce1c48d982bc483cf8a173c1bbeb5d31",
    "distilbert-base-uncased": "12040accade4e8a0f71eabdb258fecc2e7e948be",
    "distilbert/distilbert-base-uncased": "12040accade4e8a0f71eabdb258fecc2e7e948be",
}


def _none_from_text(value: Any) -> Any:
    return None if isinstance(value, str) and value.lower() in ("", "none") else value


OptionalInt = Annotated[int | None, BeforeValidator(_none_from_text)]
OptionalStr = Annotated[str | None, BeforeValidator(_none_from_text)]


def _dial(default: Any, section: str, meaning: str, **bounds: Any) -> Any:
    return Field(default, description=meaning, json_schema_extra={"section": section}, **bounds)


class RunConfig(BaseModel):
    """One fine-tuning job, the same for both loops.

    Raises:
        SameLoopError: from `RunConfig.build`, one line for the first dial that is wrong.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())

    preset: Preset = _dial("quick", "Slice and model", "the named set of dials that this run started from")
    dataset: str = _dial(
        "embedded",
        "Slice and model",
        "where the reviews come from: `embedded` (IMDB), `embedded-rotten-tomatoes`, a Hub id, or a local "
        "CSV, JSON Lines or Parquet file or `save_to_disk` folder",
        min_length=1,
    )
    dataset_revision: OptionalStr = _dial(
        None, "Slice and model", "commit, tag or branch of a Hub dataset; the presets' own ids are pinned"
    )
    model: str = _dial(
        "embedded",
        "Slice and model",
        "where the model comes from: `embedded` (pretrained, 22.7 M parameters), `embedded-tiny` (random, for "
        "tests), a Hub id, or a local model folder",
        min_length=1,
    )
    model_revision: OptionalStr = _dial(
        None, "Slice and model", "commit, tag or branch of a Hub model; the presets' own ids are pinned"
    )
    train_size: int = _dial(512, "Slice and model", "how many reviews to train on", ge=1)
    eval_size: int = _dial(256, "Slice and model", "how many other reviews to evaluate on", ge=1)
    max_length: int = _dial(
        128, "Slice and model", "tokens a review is cut to; 512 is the most DistilBERT takes", ge=2
    )
    slice_seed: int = _dial(
        0,
        "Slice and model",
        "seed of the shuffle that picks the reviews (not of the batches)",
        ge=0,
        lt=2**32,
    )

    per_device_train_batch_size: int = _dial(8, "Training", "reviews per training batch", ge=1)
    num_train_epochs: float = _dial(2.0, "Training", "passes over the training reviews", gt=0, le=10_000)
    learning_rate: float = _dial(5e-5, "Training", "peak learning rate", gt=0)
    weight_decay: float = _dial(0.0, "Training", "AdamW's decay; biases and norms never decay", ge=0)
    adam_beta1: float = _dial(0.9, "Training", "AdamW's decay of the mean gradient", ge=0, lt=1)
    adam_beta2: float = _dial(0.999, "Training", "AdamW's decay of the mean squared gradient", ge=0, lt=1)
    adam_epsilon: float = _dial(1e-8, "Training", "AdamW's guard against division by zero", gt=0)
    max_grad_norm: float = _dial(1.0, "Training", "gradients are scaled down to this norm", gt=0)
    warmup_steps: float = _dial(0, "Training", "steps of linear warm-up; below 1, the share of all steps", ge=0)
    seed: int = _dial(42, "Training", "seed of the head, the dropout and the batches", ge=0, lt=2**32)
    data_seed: OptionalInt = _dial(
        None, "Training", "seed of the order of the batches; none: the same as `seed`", ge=0, lt=2**32
    )
    use_cpu: bool = _dial(False, "Training", "stay on the CPU even where there is a GPU")

    per_device_eval_batch_size: int = _dial(8, "Evaluation", "reviews per evaluation batch", ge=1)

    @classmethod
    def build(cls, preset: str | None = None, **overrides: Any) -> RunConfig:
        """The preset's dials (`quick` if none is named) with `overrides` on top.

        Values may be strings, as typed on a command line.

        Raises:
            SameLoopError: unknown preset or dial, wrong type, value out of bounds.
        """
        preset = preset or "quick"
        if preset not in PRESETS:
            raise SameLoopError(f"there is no preset {preset!r}: choose one of {', '.join(PRESETS)}")
        try:
            return cls(**{"preset": preset, **PRESETS[preset], **overrides})
        except ValidationError as error:
            raise SameLoopError(_first_problem(error)) from None

    @property
    def dials(self) -> dict[str, Any]:
        """Every dial and its value, the preset's name left out: two runs with equal dials are the same job."""
        return self.model_dump(exclude={"preset"})

    def steps_per_epoch(self) -> int:
        """Optimizer steps in one pass over the training slice; a smaller last batch counts."""
        return -(-self.train_size // self.per_device_train_batch_size)

    def flags(self) -> list[str]:
        """The command-line options that give exactly this run."""
        return ["--preset", self.preset] + [
            argument
            for name, value in self.dials.items()
            if value != getattr(RunConfig.build(self.preset), name)
            for argument in flag(name, value)
        ]

    def differences(self, other: RunConfig) -> dict[str, tuple[Any, Any]]:
        """The dials in which two runs differ, as `{name: (ours, theirs)}`."""
        theirs = other.dials
        return {name: (value, theirs[name]) for name, value in self.dials.items() if value != theirs[name]}


# What each preset sets differently from the defaults above, which are those of `quick`.
PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {
        "dataset": "embedded-rotten-tomatoes",
        "model": "embedded-tiny",
        "train_size": 64,
        "eval_size": 32,
        "max_length": 64,
        "num_train_epochs": 1.0,
        "learning_rate": 1e-3,
    },
    "quick": {},
    "lesson": {
        "dataset": "stanfordnlp/imdb",
        "model": "distilbert/distilbert-base-uncased",
        "train_size": 2000,
        "eval_size": 500,
        "max_length": 512,
    },
    "full": {
        "dataset": "stanfordnlp/imdb",
        "model": "distilbert/distilbert-base-uncased",
        "train_size": 25_000,
        "eval_size": 25_000,
        "max_length": 512,
    },
}


def option(name: str) -> str:
    """`learning_rate` becomes `--learning-rate`."""
    return "--" + name.replace("_", "-")


def flag(name: str, value: Any) -> list[str]:
    """One dial as command-line arguments."""
    if isinstance(value, bool):
        return [option(name) if value else option("no_" + name)]
    return [option(name), "none" if value is None else str(value)]


def sections() -> dict[str, list[str]]:
    """The names of the dials by section, in the order of their declaration; `preset` is left out."""
    found: dict[str, list[str]] = {}
    for name, field in RunConfig.model_fields.items():
        if name != "preset":
            found.setdefault(field.json_schema_extra["section"], []).append(name)
    return found


def values_by_preset(name: str) -> str:
    """A dial's default and the presets that set another: `8; tiny 4`."""
    default = RunConfig.model_fields[name].default
    others = [f"{preset} {show(dials[name])}" for preset, dials in PRESETS.items() if name in dials]
    return "; ".join([show(default), *others])


def show(value: Any) -> str:
    """A dial's value as a reader would write it: 5e-05, 512, yes, none."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _first_problem(error: ValidationError) -> str:
    """Pydantic's report, cut down to its first problem in one line that names the flag."""
    problem = error.errors(include_url=False)[0]
    if not problem["loc"]:
        return problem["msg"].removeprefix("Value error, ")
    name = str(problem["loc"][0])
    if problem["type"] == "extra_forbidden":
        return f"there is no dial {option(name)}: `sameloop manual --help` lists them all"
    wrong = problem["msg"].removeprefix("Value error, ")
    return f"{option(name)} {problem['input']!s}: {wrong[0].lower()}{wrong[1:]}"
