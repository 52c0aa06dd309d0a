"""The settings: declared once, checked in one line, the same names and defaults as TrainingArguments."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import math
from typing import get_args

import pytest
import torch
from packaging.version import Version
from torch.optim.lr_scheduler import ReduceLROnPlateau
from transformers import SchedulerType, TrainingArguments, get_scheduler
from transformers.optimization import TYPE_TO_SCHEDULER_FUNCTION, GreedyLR

from shared import schedules
from shared.config import BEGINS, METRIC_SCHEDULES, RunConfig, Schedule, job_name, meaning, sections, values_by_preset
from shared.errors import SameLoopError
from shared.presets import PRESETS
from shared.running.command import setting_options
from shared.sources.embedded import MODEL_SHAPES, REVIEW_SOURCES

# What TrainingArguments knows nothing of: the subset, the model, and the page.
OWN = {
    "preset",
    "loop",
    "dataset",
    "dataset_config",
    "dataset_revision",
    "text_column",
    "label_column",
    "model",
    "model_revision",
    "train_size",
    "eval_size",
    "max_length",
    "shuffle",
    "early_stopping_patience",
    "slice_seed",
    "freeze_body",
    "trainer_defaults",
    "use_mps",
}
# Settings whose default is the tutorial's and not TrainingArguments' (None there is a deprecated name's False).
OTHER_DEFAULTS = {
    "num_train_epochs": 2.0,
    "logging_strategy": "epoch",
    "eval_strategy": "epoch",
    "gradient_checkpointing": False,
    "save_strategy": "epoch",
    "save_total_limit": 1,
}


def test_settings_have_the_names_and_defaults_of_training_arguments() -> None:
    theirs = {field.name: field.default for field in dataclasses.fields(TrainingArguments)}
    if Version(torch.__version__) < Version("2.8"):  # with which transformers takes another default
        theirs["optim"] = "adamw_torch_fused"
    for name, field in RunConfig.model_fields.items():
        if name not in OWN:
            assert name in theirs
            assert field.default == OTHER_DEFAULTS.get(name, theirs[name]), name


def test_every_setting_has_a_meaning_a_section_and_an_option() -> None:
    options = {option.name: option for option in setting_options()}
    assert options.keys() == RunConfig.model_fields.keys()
    assert {names[0]: section for section, names in sections().items()} == BEGINS
    for names in sections().values():
        for name in names:
            assert meaning(name) in options[name].help
            assert values_by_preset(name) in options[name].help


@pytest.mark.parametrize("preset", PRESETS)
def test_flags_give_the_same_run_back(preset: str) -> None:
    from shared.running.command import config_from, loop_command

    schedule = {"lr_scheduler_type": "polynomial", "lr_scheduler_kwargs": {"power": 2, "lr_end": 1 / 3 * 1e-5}}
    config = RunConfig.build(preset, learning_rate=1 / 3 * 1e-4, data_seed=5, use_cpu=True, train_size=3, **schedule)
    command = loop_command("manual", "")
    config = config.model_copy(update={"eval_strategy": "steps", "eval_steps": 3, "bf16": True})
    parameters = command.make_context("manual", config.flags()).params
    for name in ("output_dir", "overwrite_output_dir", "record"):
        parameters.pop(name)
    assert config_from(parameters) == config


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"lerning_rate": 1}, "no option --lerning-rate"),
        ({"learning_rate": "fast"}, "--learning-rate fast: input should be a valid number"),
        ({"train_size": 0}, "--train-size 0"),
        ({"use_cpu": "perhaps"}, "--use-cpu perhaps"),
    ],
)
def test_a_wrong_setting_is_one_line(settings: dict, said: str) -> None:
    """From Python; those of the command line are in the table of odd inputs."""
    with pytest.raises(SameLoopError) as caught:
        RunConfig.build(**settings)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


# What a schedule is not given by `lr_scheduler_kwargs`; `verbose` is torch's until 2.6.
NOT_GIVEN = {"optimizer", "num_warmup_steps", "num_training_steps", "last_epoch"}


@pytest.mark.parametrize("name", get_args(Schedule))
def test_what_a_schedule_takes_is_what_transformers_gives_it(name: str) -> None:
    function = TYPE_TO_SCHEDULER_FUNCTION[SchedulerType(name)]
    function = {"reduce_lr_on_plateau": ReduceLROnPlateau, "greedy": GreedyLR}.get(name, function)
    theirs = set(inspect.signature(function).parameters) - NOT_GIVEN
    assert set(schedules.TAKEN.get(name, "").split()) == theirs - ({"verbose"} if name != "greedy" else set())
    assert {schedule.value for schedule in SchedulerType} == set(get_args(Schedule))


@pytest.mark.parametrize("name", schedules.TAKEN)
def test_no_value_that_a_schedule_takes_breaks_it(name: str) -> None:
    values = (
        0,
        1,
        7,
        0.5,
        10_000,
        2**32 - 1,
        1e300,
        -1,
        True,
        "2",
        None,
        math.inf,
        *("cosine", "1-sqrt", "max", "rel"),
    )
    tried = set()
    for argument, value, warmup in itertools.product(schedules.TAKEN[name].split(), values, (0, 3, 20)):
        arguments = schedules.NEEDED.get(name, {}) if argument != "min_lr" else {}
        arguments = {**arguments, argument: value}
        try:
            settings = {
                "lr_scheduler_type": name,
                "lr_scheduler_kwargs": arguments,
                "warmup_steps": warmup,
                "max_steps": 21,
            }
            RunConfig.build("tiny", **settings)
        except SameLoopError:
            continue
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=1e-4)
        schedule = get_scheduler(name, optimizer, warmup, 21, arguments)
        for loss in range(21):
            schedule.step(*([loss % 5] if name in METRIC_SCHEDULES else []))
            assert isinstance(optimizer.param_groups[0]["lr"], float | int)
        tried.add(argument)
    assert tried == set(schedules.TAKEN[name].split())


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        RunConfig.build().seed = 1


def test_differences_name_the_settings() -> None:
    assert RunConfig.build(seed=1).differences(RunConfig.build()) == {"seed": (1, 42)}
    assert not RunConfig.build().differences(RunConfig.build())


@pytest.mark.parametrize(
    ("settings", "world_size", "steps"),
    [
        ({"train_size": 64}, 1, 8),
        ({"train_size": 61}, 1, 8),
        ({"train_size": 61, "dataloader_drop_last": True}, 1, 7),
        ({"train_size": 61, "gradient_accumulation_steps": 3}, 1, 3),
        ({"train_size": 61}, 2, 4),
        ({"train_size": 65}, 2, 5),
        ({"train_size": 71, "dataloader_drop_last": True}, 3, 2),
        ({"train_size": 61, "gradient_accumulation_steps": 3}, 2, 2),
    ],
)
def test_steps_per_epoch(settings: dict, world_size: int, steps: int) -> None:
    assert RunConfig.build("tiny", **settings).steps_per_epoch(world_size) == steps


def test_what_works_for_one_process_may_not_for_several() -> None:
    config = RunConfig.build("tiny", train_size=20, dataloader_drop_last=True)
    assert config.problem_with(2) is None
    assert "leaves no batch to train on" in config.problem_with(3)
    config = RunConfig.build("tiny", num_train_epochs=1, lr_scheduler_type="polynomial", warmup_steps=4)
    assert config.problem_with(1) is None
    assert "polynomial needs a step after it, of 4 in all" in config.problem_with(2)


@pytest.mark.parametrize(
    ("settings", "parameters", "name"),
    [
        ({"preset": "quick"}, 22_713_986, "MiniLM-L6 (22.7 M) on IMDB"),
        ({"preset": "quick"}, None, "MiniLM-L6 on IMDB"),
        ({"preset": "tiny"}, 1_011_362, "2 layers, random (1.0 M) on Rotten Tomatoes"),
        ({"preset": "tiny"}, 11_362, "2 layers, random (11 k) on Rotten Tomatoes"),
        ({"preset": "full"}, None, "distilbert/distilbert-base-uncased on stanfordnlp/imdb"),
        ({"model": "/home/me/my-model/", "dataset": "./data/reviews.csv"}, None, "my-model on reviews.csv"),
        ({"model": "..", "dataset": "mine/reviews.csv"}, None, ".. on mine/reviews.csv"),
    ],
)
def test_a_job_is_named_as_a_reader_would(settings: dict, parameters: int | None, name: str) -> None:
    assert job_name(RunConfig.build(**settings), parameters) == name


def test_every_embedded_source_has_a_name_that_is_true() -> None:
    for model, shape in MODEL_SHAPES.items():
        name = job_name(RunConfig.build(model=model), None)
        assert "embedded" not in name and str(shape["n_layers"]) in name
    for dataset in REVIEW_SOURCES:
        assert "embedded" not in job_name(RunConfig.build(dataset=dataset), None)
