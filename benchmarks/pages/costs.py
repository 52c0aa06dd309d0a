"""What each setting of a run costs: the lines of the manual loop that go when it is switched off."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any, get_args

from benchmarks.pages.diff import changed_lines
from benchmarks.pages.fold import folded_source
from shared.config import Interval, RunConfig, option, sections, show
from shared.errors import SameLoopError
from shared.running.script import package_script

# Settings of the loop's inputs, or of what Trainer alone does: no line of the loop comes or goes with them.
NOT_IN_THE_LOOP = ("Loop", "Data and model")
EXCEPT = "freeze_body"
TRAINERS_OWN = "trainer_defaults"
# Off, where the declaration does not define it: a setting that is neither a switch nor an interval nor can be none.
OFF: dict[str, Any] = {
    "train_sampling_strategy": "sequential",
    "dataloader_num_workers": 0,
    "optim": "adamw_torch_fused",
    "weight_decay": 0.0,
    "max_grad_norm": 0.0,
    "lr_scheduler_type": "constant",
    "warmup_steps": 0.0,
    "max_steps": -1,
    "gradient_accumulation_steps": 1,
    "label_smoothing_factor": 0.0,
}
# What may have to be switched off along with another setting, because it makes no sense without.
DEPENDENT = (
    "load_best_model_at_end",
    "metric_for_best_model",
    "eval_steps",
    "lr_scheduler_type",
    "lr_scheduler_kwargs",
)


@dataclass(frozen=True)
class SettingCost:
    """One setting.

    Attributes:
        name: the setting's.
        value: in this run.
        off: its value when it is switched off.
        also: what cannot stay without it, switched off too, by setting.
        more: the lines of code that only the loop with the setting has.
        less: those that only the loop without it has.
    """

    name: str
    value: Any
    off: Any
    also: dict[str, Any]
    more: list[str]
    less: list[str]

    @property
    def lines(self) -> int:
        """By how many lines the loop is longer with the setting."""
        return len(self.more) - len(self.less)

    @property
    def as_option(self) -> str:
        """As on the command line: `--gradient-accumulation-steps 4`."""
        return option(self.name) + ("" if self.value is True else f" {show(self.value)}")

    @property
    def without(self) -> str:
        """What it is when it is off, and what goes with it: `no, without --load-best-model-at-end`."""
        others = "".join(f", without {option(name)}" for name in self.also)
        return f"{show(self.off)}{others}"


def setting_costs(config: RunConfig, world_size: int = 1) -> list[SettingCost]:
    """What each setting of a run costs, the most expensive first, without settings that do not lengthen the loop.

    The loop is SameLoop's own, specialized for the run's settings, whichever loop the run itself had.
    """
    script = package_script("manual")
    before, costs = folded_source(script, config, world_size), []
    for name in RunConfig.model_fields:
        off = off_value(name)
        if off == () or getattr(config, name) == off[0]:
            continue
        without, also = switched_off(config, name, off[0])
        if without is None:
            continue
        more, less = changed_lines(folded_source(script, without, world_size), before)
        cost = SettingCost(name, getattr(config, name), off[0], also, more, less)
        if cost.lines > 0:
            costs.append(cost)
    return sorted(costs, key=lambda cost: -cost.lines)


def is_in_the_loop(name: str) -> bool:
    """Whether lines of the manual loop can come and go with a setting."""
    if name == TRAINERS_OWN or name not in RunConfig.model_fields or name == "preset":
        return False
    section = next(section for section, names in sections().items() if name in names)
    return name == EXCEPT or section not in NOT_IN_THE_LOOP


def off_value(name: str) -> tuple[Any, ...]:
    """A setting's value when it is switched off, alone in a tuple; empty if it cannot be, as a learning rate."""
    if not is_in_the_loop(name):
        return ()
    if name in OFF:
        return (OFF[name],)
    kind = RunConfig.model_fields[name].annotation
    if kind is bool:
        return (False,)
    if kind == Interval:
        return ("no",)
    return (None,) if type(None) in get_args(kind) else ()


def switched_off(config: RunConfig, name: str, off: Any) -> tuple[RunConfig | None, dict[str, Any]]:
    """The run without a setting, and what else was switched off for that; None if there is no such run."""
    for also in _companions(config, name):
        try:
            return RunConfig.build(config.preset, **{**config.settings, name: off, **also}), dict(also)
        except SameLoopError:
            continue
    return None, {}


def _companions(config: RunConfig, name: str) -> Iterator[Mapping[str, Any]]:
    """Nothing, then one of the dependent settings that are on, switched off, then two, and so on."""
    on = {other: off_value(other)[0] for other in DEPENDENT if other != name}
    on = {other: off for other, off in on.items() if getattr(config, other) != off}
    for count in range(len(on) + 1):
        for names in combinations(on, count):
            yield {other: on[other] for other in names}
