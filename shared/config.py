"""Every setting of a run, declared once.

`RunConfig` is where a setting's name, type, default, bounds and meaning live. The command line, both
loops, the record on disk and the table of settings in the README are all derived from it. Settings that
`transformers.TrainingArguments` has too carry the name and the default they have there.
"""

from __future__ import annotations

import json
import math
from contextlib import suppress
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from shared import hardware, schedules
from shared.errors import SameLoopError
from shared.presets import LEFT_TO_THE_MACHINE, NAMES, PRESETS

Preset = Literal["tiny", "small", "quick", "fast", "lesson", "full"]
SamplingStrategy = Literal["random", "sequential", "group_by_length"]
Optim = Literal["adamw_torch_fused", "adamw_torch", "sgd", "adafactor"]
Interval = Literal["no", "steps", "epoch"]
Metric = Literal["loss", "accuracy"]
Schedule = Literal[
    "linear",
    "cosine",
    "cosine_with_restarts",
    "polynomial",
    "constant",
    "constant_with_warmup",
    "inverse_sqrt",
    "reduce_lr_on_plateau",
    "cosine_with_min_lr",
    "cosine_warmup_with_min_lr",
    "warmup_stable_decay",
    "greedy",
]
# Schedules that step after an evaluation, on its loss, and not after every optimizer step.
METRIC_SCHEDULES = ("reduce_lr_on_plateau", "greedy")


def _none_from_text(value: Any) -> Any:
    return None if isinstance(value, str) and value.lower() in ("", "none") else value


def _from_json(value: Any) -> Any:
    """Text as the object that it holds, as Hugging Face's command lines take it; none for an empty one."""
    if isinstance(value := _none_from_text(value), str):
        with suppress(ValueError, RecursionError):
            value = json.loads(value)
    if not isinstance(value, dict | None):
        raise ValueError("it is not a JSON object; write it as '{\"num_cycles\": 2}'")
    return value or None


def _usable_name(value: str) -> str:
    if "\0" in value or any(len(part.encode()) > 255 for part in value.split("/")):
        raise ValueError("no file, folder or Hub id can have this name")
    return value


Source = Annotated[str, AfterValidator(_usable_name)]
OptionalSource = Annotated[Source | None, BeforeValidator(_none_from_text)]
OptionalInt = Annotated[int | None, BeforeValidator(_none_from_text)]
OptionalStr = Annotated[str | None, BeforeValidator(_none_from_text)]
OptionalKwargs = Annotated[dict[str, Any] | None, BeforeValidator(_from_json)]
OptionalMetric = Annotated[Metric | None, BeforeValidator(_none_from_text)]


def _setting(default: Any, meaning: str, **bounds: Any) -> Any:
    return Field(default, description=meaning, **bounds)


class RunConfig(BaseModel):
    """One fine-tuning job, the same for both loops.

    Raises:
        SameLoopError: from `RunConfig.build`, one line for the first setting that is wrong.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())

    preset: Preset = _setting("quick", "the named set of settings that this run starts from")
    loop: OptionalSource = _setting(None, "a file of yours whose `train` runs in place of the manual loop")
    dataset: Source = _setting(
        "embedded",
        "where the examples come from: `embedded` (IMDB), `embedded-rotten-tomatoes`, a Hub id, or a local "
        "CSV, TSV, JSON or Parquet file, a folder with train.csv and test.csv, or a `save_to_disk` folder",
        min_length=1,
    )
    dataset_config: OptionalStr = _setting(None, "which of a Hub dataset's configurations, where it has several")
    dataset_revision: OptionalStr = _setting(
        None, "commit, tag or branch of a Hub dataset; the presets' own ids are pinned"
    )
    text_column: OptionalStr = _setting(
        None, "the column with the texts; if not set, the one called text, review, sentence or content"
    )
    label_column: OptionalStr = _setting(
        None, "the column with their labels; if not set, the one called label, labels or sentiment"
    )
    model: Source = _setting(
        "embedded",
        "where the model comes from: `embedded` (MiniLM-L6, 22.7 M parameters), `embedded-tiny` (random, for "
        "tests), a Hub id, or a local model folder",
        min_length=1,
    )
    model_revision: OptionalStr = _setting(
        None, "commit, tag or branch of a Hub model; the presets' own ids are pinned"
    )
    train_size: int = _setting(512, "how many examples to train on; `all`: as many as there are", ge=1)
    eval_size: int = _setting(256, "how many other examples to evaluate on; `all`", ge=1)
    max_length: int = _setting(128, "tokens that a text is cut to; 512 is the most DistilBERT takes", ge=2)
    shuffle: bool = _setting(True, "shuffle the data before examples are selected (not the batches)")
    slice_seed: int = _setting(
        0, "seed of the shuffle before examples are selected (not of the batches)", ge=0, lt=2**32
    )
    freeze_body: bool = _setting(False, "train the new head only; the pretrained body does not change")

    per_device_train_batch_size: int = _setting(8, "examples per training batch and process", ge=1)
    per_device_eval_batch_size: int = _setting(8, "examples per evaluation batch and process", ge=1)
    train_sampling_strategy: SamplingStrategy = _setting(
        "random", "order of the examples (group_by_length: those of similar length together, with little padding)"
    )
    data_seed: OptionalInt = _setting(
        None, "seed of the random order of the batches; none: the same as `seed`", ge=0, lt=2**32
    )
    dataloader_drop_last: bool = _setting(False, "leave out a last batch that is not full")
    dataloader_num_workers: int = _setting(0, "processes that prepare batches in advance; 0: none", ge=0, le=64)

    optim: Optim = _setting("adamw_torch_fused", "the optimizer")
    learning_rate: float = _setting(5e-5, "peak learning rate", gt=0)
    weight_decay: float = _setting(0.0, "weight decay; biases and norms never decay", ge=0)
    adam_beta1: float = _setting(0.9, "AdamW's decay of the mean gradient", ge=0, lt=1)
    adam_beta2: float = _setting(0.999, "AdamW's decay of the mean squared gradient", ge=0, lt=1)
    adam_epsilon: float = _setting(1e-8, "AdamW's guard against division by zero", gt=0)
    max_grad_norm: float = _setting(1.0, "gradients are scaled down to this norm if theirs is larger; 0: never", ge=0)
    lr_scheduler_type: Schedule = _setting("linear", "how the learning rate changes")
    lr_scheduler_kwargs: OptionalKwargs = _setting(None, "arguments of the schedule, as JSON")
    warmup_steps: float = _setting(0, "steps of linear warm-up; below 1, the share of all steps", ge=0)

    num_train_epochs: float = _setting(2.0, "passes over the training set", gt=0, le=10_000)
    max_steps: int = _setting(-1, "optimizer steps in all, instead of `num_train_epochs`; -1: not set", ge=-1)
    gradient_accumulation_steps: int = _setting(1, "batches whose gradients make up one step", ge=1)
    label_smoothing_factor: float = _setting(
        0.0, "label smoothing: the share of each label that is spread over all labels", ge=0, lt=1
    )
    bf16: bool = _setting(False, "matrix products in bfloat16 (autocast)")
    fp16: bool = _setting(False, "matrix products in float16, the loss scaled; needs a GPU")
    gradient_checkpointing: bool = _setting(False, "recompute activations in the backward pass: less memory")
    torch_compile: bool = _setting(False, "torch.compile; needs a C++ compiler")
    seed: int = _setting(42, "seed of the head, the dropout and the batches", ge=0, lt=2**32)
    full_determinism: bool = _setting(False, "deterministic algorithms only; what equality on a GPU needs")
    use_cpu: bool = _setting(False, "stay on the CPU even where there is a GPU")
    use_mps: bool = _setting(False, "on a Mac, train on Apple's GPU, where no two runs are the same to the bit")
    trainer_defaults: bool = _setting(
        False, "leave out the workaround for a bug in transformers (docs/upstream-fault.md)"
    )

    logging_strategy: Interval = _setting("epoch", "when the training loss is logged")
    logging_steps: int = _setting(500, "log every so many steps, with `steps`", ge=1)
    eval_strategy: Interval = _setting("epoch", "when to evaluate")
    eval_steps: OptionalInt = _setting(None, "evaluate every so many steps, with `steps`; none: `logging_steps`", ge=1)

    save_strategy: Interval = _setting("epoch", "when to save a checkpoint to resume from")
    save_steps: int = _setting(500, "save every so many steps, with `steps`", ge=1)
    save_total_limit: OptionalInt = _setting(
        1, "how many checkpoints to keep, the newest (and the best, if it is loaded); none: all", ge=1
    )
    load_best_model_at_end: bool = _setting(False, "end with the weights of the best evaluation, not of the last step")
    metric_for_best_model: OptionalMetric = _setting(
        None, "what makes an evaluation the best: loss (lower), accuracy (higher); none: loss"
    )

    early_stopping_patience: OptionalInt = _setting(
        None, "stop after this many evaluations without a better one; none: never", ge=1
    )

    @model_validator(mode="after")
    def _settings_fit_together(self) -> RunConfig:
        """Refuse what contradicts itself, by a ValueError whose one line `RunConfig.build` passes on."""
        if self.use_mps and (self.use_cpu or self.full_determinism):
            other = "--use-cpu" if self.use_cpu else "--full-determinism"
            raise ValueError(f"--use-mps and {other} exclude each other: choose one")
        if self.bf16 and self.fp16:
            raise ValueError("--bf16 and --fp16 exclude each other: choose one")
        if self.max_steps == 0:
            raise ValueError("--max-steps 0: nothing to do; give a number of steps, or -1 for --num-train-epochs")
        if self.eval_steps is not None and self.eval_strategy != "steps":
            raise ValueError(f"--eval-steps {self.eval_steps} needs --eval-strategy steps, not {self.eval_strategy}")
        if self.lr_scheduler_type in METRIC_SCHEDULES and self.eval_strategy == "no":
            raise ValueError(f"--lr-scheduler-type {self.lr_scheduler_type} follows the evaluation: not with none")
        if problem := schedules.problem_with(self.lr_scheduler_type, self.lr_scheduler_kwargs or {}):
            raise ValueError(problem)
        if self.load_best_model_at_end:
            self._best_can_be_loaded()
        elif self.metric_for_best_model and self.lr_scheduler_type not in METRIC_SCHEDULES:
            raise ValueError(
                f"--metric-for-best-model {self.metric_for_best_model} has no effect without --load-best-model-at-end"
            )
        if self.early_stopping_patience is not None:
            self._can_stop_early()
        if self.dataloader_drop_last and self.per_device_eval_batch_size > self.eval_size:
            raise ValueError("--dataloader-drop-last leaves no batch to evaluate: raise --eval-size")
        if problem := self.problem_with(world_size=1):
            raise ValueError(problem)
        return self

    def _best_can_be_loaded(self) -> None:
        """The best evaluation's weights must have been saved: every evaluation needs a checkpoint, as in `Trainer`."""
        if self.eval_strategy == "no" or self.save_strategy != self.eval_strategy:
            raise ValueError(
                "--load-best-model-at-end needs a checkpoint at every evaluation: --save-strategy and --eval-strategy "
                f"must be the same, epoch or steps, not {self.save_strategy} and {self.eval_strategy}"
            )
        eval_steps = self.eval_steps or self.logging_steps
        if self.save_strategy == "steps" and self.save_steps % eval_steps:
            raise ValueError(
                f"--load-best-model-at-end: --save-steps {self.save_steps} must be a multiple of the "
                f"{eval_steps} steps between evaluations"
            )

    def _can_stop_early(self) -> None:
        argument = f"--early-stopping-patience {self.early_stopping_patience}"
        if not self.load_best_model_at_end:
            raise ValueError(
                f"{argument} needs --load-best-model-at-end: the run ends with the best evaluation's weights"
            )
        if self.eval_strategy == "steps" and self.logging_strategy == "epoch":
            raise ValueError(f"{argument} may stop in the middle of an epoch: add --logging-strategy steps, or no")

    @classmethod
    def build(cls, preset: str | None = None, **overrides: Any) -> RunConfig:
        """The preset's settings (`quick` if none is named) with `overrides` on top.

        Values may be strings, as typed on a command line. What a preset leaves to the machine (`LEFT_TO_THE_MACHINE`)
        is decided here, once: from here on it is a setting as any other, in the record and for every process.

        Raises:
            SameLoopError: unknown preset or setting, wrong type, value out of bounds.
        """
        preset = preset or "quick"
        if preset not in PRESETS:
            raise SameLoopError(f"there is no preset {preset!r}: choose one of {', '.join(PRESETS)}")
        try:
            config = cls(**{"preset": preset, **PRESETS[preset], **overrides})
        except ValidationError as error:
            raise SameLoopError(_first_problem(error)) from None
        if "bf16" in LEFT_TO_THE_MACHINE.get(preset, {}) and "bf16" not in overrides and not config.fp16:
            return config.model_copy(update={"bf16": hardware.bf16(config.use_cpu).in_hardware})
        return config

    def __hash__(self) -> int:
        # A dictionary has no hash; `==` distinguishes runs that differ in it alone.
        return hash(self.model_dump_json(exclude={"lr_scheduler_kwargs"}))

    @property
    def settings(self) -> dict[str, Any]:
        """Every setting and its value, the preset's name left out: two runs with equal settings are the same job."""
        return self.model_dump(exclude={"preset"})

    def steps_per_epoch(self, world_size: int = 1) -> int:
        """Optimizer steps in one pass over the training subset, shared by `world_size` processes.

        A smaller last batch, round of processes or group of batches counts, unless it is dropped.
        """
        batches = math.floor if self.dataloader_drop_last else math.ceil
        per_process = batches(batches(self.train_size / self.per_device_train_batch_size) / world_size)
        return math.ceil(per_process / self.gradient_accumulation_steps)

    def total_steps(self, world_size: int = 1) -> int:
        """Optimizer steps of the whole run, by each of `world_size` processes."""
        if self.max_steps > 0:
            return self.max_steps
        return math.ceil(self.num_train_epochs * self.steps_per_epoch(world_size))

    def problem_with(self, world_size: int) -> str | None:
        """Why these settings cannot work for so many processes, in one line; None if they can."""
        if self.steps_per_epoch(world_size) == 0:
            return "--dataloader-drop-last leaves no batch to train on: raise --train-size or lower the batch size"
        steps = self.total_steps(world_size)
        warmup = self.warmup_steps if self.warmup_steps >= 1 else math.ceil(self.warmup_steps * steps)
        end = (self.lr_scheduler_kwargs or {}).get("lr_end", schedules.POLYNOMIAL_END)
        if self.lr_scheduler_type == "polynomial" and self.learning_rate <= end:
            return (
                f"--learning-rate {show(self.learning_rate)}: polynomial falls to {show(end)} and must "
                "start above it; raise it, or choose another --lr-scheduler-type"
            )
        if self.lr_scheduler_type == "polynomial" and int(warmup) == steps:
            # get_polynomial_decay_schedule_with_warmup divides by the number of steps after the warm-up.
            return f"--warmup-steps {show(self.warmup_steps)}: polynomial needs a step after it, of {steps} in all"
        return None

    def flags(self) -> list[str]:
        """The command-line options that give exactly this run, on every machine."""
        defaults, left_to_machine = RunConfig.build(self.preset), LEFT_TO_THE_MACHINE.get(self.preset, {})
        return ["--preset", self.preset] + [
            argument
            for name, value in self.settings.items()
            if name in left_to_machine or value != getattr(defaults, name)
            for argument in flag(name, value)
        ]

    def differences(self, other: RunConfig) -> dict[str, tuple[Any, Any]]:
        """The settings in which two runs differ, as `{name: (ours, theirs)}`.

        `loop` is not among them: which script runs concerns one loop only, and the kept code identifies it.
        """
        ours, theirs = (config.model_dump(exclude={"preset", "loop"}) for config in (self, other))
        return {name: (value, theirs[name]) for name, value in ours.items() if value != theirs[name]}

    def other_numbers(self, other: RunConfig) -> dict[str, tuple[Any, Any]]:
        """As `differences`, without the settings that change no number of a run."""
        # Which checkpoints there are decides which is the best of them.
        chooses = self.load_best_model_at_end or other.load_best_model_at_end
        harmless = CHANGE_NO_NUMBER[:1] if chooses else CHANGE_NO_NUMBER
        return {name: pair for name, pair in self.differences(other).items() if name not in harmless}


# The sections of the settings, by the first of each; the others of a section follow it.
BEGINS = {
    "loop": "Loop",
    "dataset": "Data and model",
    "per_device_train_batch_size": "Batches",
    "optim": "Optimizer",
    "num_train_epochs": "Training",
    "logging_strategy": "Logging and evaluation",
    "save_strategy": "Checkpoints",
}

# What is kept on the way, and who prepares the batches: the numbers of the run stay as they are.
CHANGE_NO_NUMBER = ("dataloader_num_workers", "save_strategy", "save_steps", "save_total_limit")


def is_path(value: str) -> bool:
    """Whether a `dataset` or a `model` is a path, and no name that the Hub could have."""
    return value.startswith((".", "~", "/")) or value.count("/") > 1


def source_name(setting: str, value: str) -> str:
    """What a reader calls a `dataset` or a `model`: its name where it is embedded or a Hub id, a path's last part."""
    return NAMES[setting].get(value) or (value.rstrip("/").rpartition("/")[2] or value if is_path(value) else value)


def job_name(config: RunConfig, parameters: int | None) -> str:
    """What is trained on what: `MiniLM-L6 (22.7 M) on IMDB`.

    Args:
        parameters: how many the model has, as a record's start line says; None: not known.
    """
    size = ""
    if parameters is not None:
        size = f" ({parameters / 1e6:.1f} M)" if parameters >= 1e6 else f" ({parameters / 1e3:.0f} k)"
    return f"{source_name('model', config.model)}{size} on {source_name('dataset', config.dataset)}"


def option(name: str) -> str:
    """`learning_rate` becomes `--learning-rate`."""
    return "--" + name.replace("_", "-")


def flag(name: str, value: Any) -> list[str]:
    """One setting as command-line arguments."""
    if isinstance(value, bool):
        return [option(name) if value else option("no_" + name)]
    return [option(name), show(value) if value is None or isinstance(value, dict) else str(value)]


def sections() -> dict[str, list[str]]:
    """The names of the settings by section, in the order of their declaration; `preset` is left out."""
    names_by_section: dict[str, list[str]] = {}
    section = ""
    for name in RunConfig.model_fields:
        section = BEGINS.get(name, section)
        if name != "preset":
            names_by_section.setdefault(section, []).append(name)
    return names_by_section


def meaning(name: str) -> str:
    """A setting's meaning, with the values it can take where these are names."""
    field = RunConfig.model_fields[name]
    names = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    return f"{field.description}: {', '.join(names)}" if names else str(field.description)


def values_by_preset(name: str) -> str:
    """A setting's default and the presets that set another: `8; tiny 4`."""
    default = RunConfig.model_fields[name].default
    others = [f"{preset} {show(settings[name])}" for preset, settings in PRESETS.items() if name in settings]
    chosen = [f"{preset} {settings[name]}" for preset, settings in LEFT_TO_THE_MACHINE.items() if name in settings]
    return "; ".join([show(default), *others, *chosen])


def show(value: Any) -> str:
    """A setting's value as a reader would write it: 5e-05, 512, yes, none."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return schedules.as_json(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _first_problem(error: ValidationError) -> str:
    """Pydantic's report, cut down to its first problem in one line that names the flag."""
    problem = error.errors(include_url=False)[0]
    if not problem["loc"]:
        return problem["msg"].removeprefix("Value error, ")
    name = str(problem["loc"][0])
    if problem["type"] == "extra_forbidden":
        return f"there is no option {option(name)}: `sameloop manual --help` lists them all"
    reason = problem["msg"].removeprefix("Value error, ")
    value = show(problem["input"]) if isinstance(problem["input"], dict) else str(problem["input"])
    excerpt = value if len(value) <= 80 else f"{value[:77]}..."
    return f"{option(name)} {excerpt}: {reason[0].lower()}{reason[1:]}"
