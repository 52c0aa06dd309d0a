"""What each setting costs in the manual loop: which can be switched off, what goes with them, and the lines."""

from __future__ import annotations

import pytest

from benchmarks.pages.costs import SettingCost, is_in_the_loop, off_value, setting_costs, switched_off
from benchmarks.pages.diff import changed_lines
from benchmarks.pages.fold import folded_source
from shared.config import RunConfig
from shared.running.script import package_script

# Everything off that can be: what is left is the loop itself.
PLAIN = {name: off_value(name)[0] for name in RunConfig.model_fields if off_value(name)}


# For each setting that is on here, the loop is specialized once more: they are few.
SMALL = RunConfig.build(
    "quick", **{**PLAIN, "eval_strategy": "epoch", "save_strategy": "epoch", "save_total_limit": 1}
)


@pytest.fixture(scope="module")
def small() -> dict[str, SettingCost]:
    """The costs of a run with three settings on, by setting."""
    return {cost.name: cost for cost in setting_costs(SMALL)}


def test_off_is_told_by_the_declaration_or_the_table() -> None:
    assert off_value("bf16") == off_value("freeze_body") == (False,)
    assert off_value("eval_strategy") == ("no",)
    assert off_value("data_seed") == off_value("save_total_limit") == (None,)
    assert off_value("gradient_accumulation_steps") == (1,) and off_value("max_grad_norm") == (0.0,)
    for name in ("learning_rate", "seed", "adam_beta1", "train_size", "dataset_config", "trainer_defaults", "preset"):
        assert off_value(name) == (), name
    assert not is_in_the_loop("dataset") and not is_in_the_loop("loop") and is_in_the_loop("freeze_body")
    # No setting of the loop is forgotten: what cannot be switched off has another value in its line, no line.
    without = {name for name in RunConfig.model_fields if is_in_the_loop(name) and not off_value(name)}
    assert without == {
        *("per_device_train_batch_size", "per_device_eval_batch_size", "learning_rate", "num_train_epochs", "seed"),
        *("adam_beta1", "adam_beta2", "adam_epsilon", "logging_steps", "save_steps"),
    }


def test_the_lines_are_those_that_the_diff_shows(small: dict[str, SettingCost]) -> None:
    script, without = package_script("manual"), RunConfig.build("quick", **{**SMALL.settings, "eval_strategy": "no"})
    more, less = changed_lines(folded_source(script, without), folded_source(script, SMALL))
    assert (small["eval_strategy"].more, small["eval_strategy"].less) == (more, less)
    assert any("evaluate(model" in line for line in more)
    assert set(small) == {"eval_strategy", "save_strategy", "save_total_limit"}
    lines = [cost.lines for cost in small.values()]
    assert lines == sorted(lines, reverse=True) and lines[-1] > 0
    # The folders that are removed are removed only where some are saved.
    assert set(small["save_total_limit"].more) <= set(small["save_strategy"].more)


def test_a_setting_is_named_as_on_the_command_line(small: dict[str, SettingCost]) -> None:
    assert small["save_total_limit"].as_option == "--save-total-limit 1"
    assert small["save_total_limit"].without == "none"
    assert SettingCost("bf16", True, False, {}, [], []).as_option == "--bf16"


def test_what_makes_no_sense_without_a_setting_goes_with_it() -> None:
    settings = {"load_best_model_at_end": True, "save_strategy": "epoch", "eval_strategy": "epoch"}
    best = {**PLAIN, **settings, "metric_for_best_model": "accuracy"}
    config = RunConfig.build("quick", **{**best, "lr_scheduler_type": "greedy"})

    def also(name: str, config: RunConfig) -> set[str]:
        without, others = switched_off(config, name, off_value(name)[0])
        assert without is not None and getattr(without, name) == off_value(name)[0]
        return set(others)

    assert also("eval_strategy", config) == {
        "load_best_model_at_end",
        "metric_for_best_model",
        "lr_scheduler_type",
    }
    assert also("save_strategy", config) == {"load_best_model_at_end"}  # the schedule follows the metric, too
    plain = RunConfig.build("quick", **best)
    assert also("save_strategy", plain) == {"load_best_model_at_end", "metric_for_best_model"}
    assert also("load_best_model_at_end", plain) == {"metric_for_best_model"}
    assert also("metric_for_best_model", plain) == also("max_grad_norm", plain) == set()
    schedule = {"lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": {"min_lr_rate": 0.1}}
    plain = RunConfig.build("quick", **{**PLAIN, **schedule})
    assert also("lr_scheduler_type", plain) == {"lr_scheduler_kwargs"}
    assert also("lr_scheduler_kwargs", plain) == {"lr_scheduler_type"}
    text = SettingCost("save_strategy", "epoch", "no", {"load_best_model_at_end": False}, [], []).without
    assert text == "no, without --load-best-model-at-end"


def test_a_run_with_everything_off_costs_nothing() -> None:
    assert setting_costs(RunConfig.build("quick", **PLAIN)) == []


def test_of_several_processes_it_is_their_page() -> None:
    config = RunConfig.build("quick", **{**PLAIN, "gradient_accumulation_steps": 2})
    (cost,) = setting_costs(config, world_size=2)
    assert cost.name == "gradient_accumulation_steps"
    # With a single process there is nothing to put off.
    assert any("require_backward_grad_sync" in line for line in cost.more)
    assert "require_backward_grad_sync" not in folded_source(package_script("manual"), config)
