"""The texts of the charts: titles, and the alt text for those who cannot see them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from benchmarks.charts.data import (
    EqualRuns,
    Pair,
    Run,
    clips,
    differences,
    different_settings,
    drawn_reviews,
    evaluations,
    first_other_reviews,
    has,
    padding_share,
    phase_seconds,
    same,
    series,
)
from benchmarks.statistics import duration, range_text, ratio_of_steps, step_seconds, which_is_faster
from shared.config import job_name, show
from shared.recording.record import RunRecord, training_seconds

LONGEST_NAME = 40
# Kinds that draw one number of each step -> its name in the record, title, and unit.
SERIES = {
    "losses": ("loss", "Training loss", "mean per review"),
    "memory": ("memory_mb", "Memory in use at each step", "MB (10⁶ bytes)"),
    "learning-rate": ("learning_rate", "Learning rate of each step", "learning rate"),
}
# The two gradient norms of a step -> when, and an explanation.
NORMS = {
    "unclipped_norm": ("before clipping", "after the last backward pass"),
    "grad_norm": ("after clipping", "as the optimizer sees it"),
}
TITLES = {
    **{kind: title for kind, (_, title, _) in SERIES.items()},
    "gradient-norm": "Gradient norm of each step",
    "difference": "Difference of the training losses, step by step",
    "accuracy": "Validation accuracy after each evaluation",
    "time": "Where the time of a step goes",
    "batches": "Which reviews each step drew, and how much is padding",
}


def title_of(kind: str, runs: Sequence[Run], pair: Pair | None) -> str:
    """The title: the verdict for the overview, what is shown for the other kinds."""
    if kind != "overview":
        return TITLES[kind]
    if pair is None:
        return f"One run: {runs[0].label}"
    if len(runs) > 2:
        return f"{len(runs)} runs side by side"
    if pair.first is not None:
        return f"Diverged {pair.first.where}: {shorten(pair.first.quantity, 50)}"
    if {pair.run.record.loop, pair.other.record.loop} == {"manual", "trainer"}:
        return "Identical: Trainer and the manual loop are equal, bit for bit"
    return f"Identical: {pair.run.label} and {pair.other.label}, bit for bit"


def verdict(pair: Pair) -> str:
    """One line on the runs that are compared."""
    if pair.groups:
        return _verdict_on_many(pair.groups)
    names = f"{pair.run.label} and {pair.other.label}"
    if pair.first is not None:
        return f"{names}: first difference: {shorten(str(pair.first), 80)}"
    return f"{names}: every batch, loss, gradient norm and evaluation is equal, difference 0.0"


def _verdict_on_many(groups: Sequence[EqualRuns]) -> str:
    count = sum(len(group.runs) for group in groups)
    if len(groups) == 1:
        return f"all {count} runs: every batch, loss, gradient norm and evaluation is equal, difference 0.0"
    texts = []
    for group in groups:
        names = " = ".join(run.label for run in group.runs)
        parts = "" if group.first is None else f" (diverges from the first at {shorten(str(group.first))})"
        texts.append(names + parts)
    same_as_any = "no two of them equal" if len(groups) == count else f"{len(groups)} different ones"
    return f"{count} runs, {same_as_any}: {'; '.join(texts)}"


def time_note(runs: Sequence[Run]) -> str:
    """Which loop is faster, if the runs show it; empty if they are not one of each."""
    pair = _manual_and_trainer(runs)
    return which_is_faster(pair[0], pair[1]).replace("`", "") if pair else ""


def short_time_note(runs: Sequence[Run]) -> str:
    """The same in a few words: `no difference that these 127 steps could tell`, or `manual / Trainer: 0.84`."""
    if not (pair := _manual_and_trainer(runs)):
        return ""
    ratio = ratio_of_steps(*pair)
    return ratio if isinstance(ratio, str) else f"manual / Trainer: {ratio.median:.2f}"


def _manual_and_trainer(runs: Sequence[Run]) -> list[RunRecord]:
    """The records of the manual loop and of Trainer; empty if the runs are not one of each."""
    by_loop = {run.record.loop: run.record for run in runs}
    return [by_loop["manual"], by_loop["trainer"]] if len(runs) == len(by_loop) == 2 else []


def is_own_job(runs: Sequence[Run]) -> bool:
    """Whether the runs are of a user's own job, whose examples are not reviews."""
    return any("job" in run.record.header for run in runs)


def in_words_of(runs: Sequence[Run], text: str) -> str:
    """A text with the runs' own word for a review."""
    return text.replace("review", "example") if is_own_job(runs) else text


def subtitle(runs: Sequence[Run]) -> str:
    """Model, data, subset, steps and seeds in one line; where runs differ, all values."""
    configs = [run.record.config for run in runs]

    def of_all(name: str, show: Callable[[Any], str] = str) -> str:
        return alternatives(show(getattr(config, name)) for config in configs)

    jobs = alternatives(shorten(job_name(run.record.config, run.record.start.get("parameters")), 80) for run in runs)
    world = alternatives(str(run.record.header.get("world_size", 1)) for run in runs)
    sizes = f"{of_all('train_size', '{:,}'.format)} + {of_all('eval_size', '{:,}'.format)}"
    steps = alternatives(f"{len(run.record.steps):,}" for run in runs)
    if is_own_job(runs):
        return f"{jobs}: {sizes} examples, {steps} steps, seed {of_all('seed')}"
    return (
        f"{jobs}: {sizes} reviews of at most {of_all('max_length')} tokens, {steps} steps, seed {of_all('seed')}, "
        f"subset seed {of_all('slice_seed')}" + (f", the first of {world} processes" if world != "1" else "")
    )


def settings_that_differ(runs: Sequence[Run]) -> str:
    """`different settings: seed 42 (manual), 7 (Trainer)`; empty if all runs have the same."""
    different = different_settings(runs)
    loops = {value for run, value in zip(runs, different.get("loop", ()), strict=False) if run.record.loop == "manual"}
    if len(loops) < 2:
        different.pop("loop", None)  # a user's loop and Trainer, which has none: no setting differs
    if is_own_job(runs):
        # The names of the scripts are shown elsewhere.
        different = {name: values for name, values in different.items() if name not in ("dataset", "model")}
    if not different:
        return ""
    texts = []
    for name, values in list(different.items())[:4]:
        named = [f"{shorten(str(value))} ({run.label})" for run, value in zip(runs, values, strict=True)]
        texts.append(f"{name} {', '.join(named)}" if len(runs) <= 4 else f"{name} {alternatives(map(str, values))}")
    more = f"; and {len(different) - 4} more" if len(different) > 4 else ""
    return f"different {'arguments' if is_own_job(runs) else 'settings'}: {'; '.join(texts)}{more}"


def difference_note(pairs: Sequence[tuple[Run, Run]], pair: Pair | None) -> str:
    """The note in the difference panel."""
    lines = [differences(run.record, other.record) for run, other in pairs]
    steps = max((len(values) for _, values in lines), default=0)
    if len(pairs) == 1 and pair is not None and pair.first is not None:
        return f"first difference {pair.first.where}: {shorten(pair.first.quantity, 50)}"
    if any(any(values) for _, values in lines):
        return "the losses differ"
    if not steps:
        return "no step that both have"
    return f"0.0 at {'the one step' if steps == 1 else f'all {steps:,} steps'}: exactly equal, not just close"


def largest_difference(pairs: Sequence[tuple[Run, Run]]) -> str:
    """`largest difference: 0.0019, at step 7`, of all pairs."""
    lines = [zip(*differences(run.record, other.record), strict=True) for run, other in pairs]
    finite = [(value, step) for line in lines for step, value in line if math.isfinite(value)]
    value, step = max(finite, key=lambda point: point[0], default=(0.0, 0))
    return f"largest difference: {number(value)}, at step {step}" if value else "0.0 at every step that both have"


def reviews_note(runs: Sequence[Run]) -> str:
    """Whether all of at least two runs drew the same reviews."""
    step = first_other_reviews(runs)
    names = f"all {len(runs)} runs" if len(runs) > 2 else " and ".join(run.label for run in reversed(runs))
    if step is None:
        return f"{names} drew the same reviews in the same order, at every step"
    return f"{names} drew different reviews, or in a different order, from step {step} on"


def footnote(environment: dict[str, Any]) -> str:
    """Versions and device in one line."""
    versions = ", ".join(f"{name} {environment[name]}" for name in ("torch", "transformers", "accelerate", "python"))
    threads = environment["threads"]
    return f"{versions}; {environment['device']}, {threads} thread{'' if threads == 1 else 's'}"


def alternatives(values: Any) -> str:
    """`42`, or `42 / 7` where there are several values."""
    return " / ".join(dict.fromkeys(values))


def shorten(name: str, longest: int = LONGEST_NAME) -> str:
    """Leave out the middle of a long name."""
    return name if len(name) <= longest else f"{name[: longest // 2 - 1]}…{name[-longest // 2 :]}"


# Alt text -----------------------------------------------------------------------------------------


def alt_text(kind: str, runs: Sequence[Run], pair: Pair | None, pairs: Sequence[tuple[Run, Run]] = ()) -> str:
    """Whole sentences, one per line: what is drawn, in which units, the numbers, and the verdict.

    Args:
        kind: of the chart.
        runs, pair: as for the chart.
        pairs: the pairs whose difference is drawn.
    """
    sentences = [f"{title_of(kind, runs, pair)}."]
    if kind == "overview":
        parts = ["losses", *(["difference"] if pairs else []), "validation-loss", "accuracy", "seconds"]
        sentences.append(f"{len(parts)} panels.")
        for part in parts:
            sentences += PARTS[part](runs, pair, pairs)
    else:
        sentences += PARTS[kind](runs, pair, pairs)
    if pair is not None:
        sentences.append(f"{verdict(pair)}.")
        if pair.first is not None and pair.first.cause:
            sentences.append(f"Likely cause: {pair.first.cause}.")
    sentences.append(f"The runs: {subtitle(runs)}." if len(runs) > 1 else f"The run: {subtitle(runs)}.")
    if settings := settings_that_differ(runs):
        sentences.append(f"D{settings[1:]}.")
    return "\n".join(sentences) + "\n"


def _per_run(runs: Sequence[Run], say: Callable[[Run], str]) -> list[str]:
    """A sentence per run; runs with the same sentence share one."""
    named: dict[str, list[str]] = {}
    for run in runs:
        named.setdefault(say(run), []).append(run.label)
    return [
        f"{' and '.join(labels)}{' alike' if len(labels) > 1 else ''}: {sentence}."
        for sentence, labels in named.items()
    ]


def _series(kind: str, runs: Sequence[Run], pair: Pair | None, pairs: Any) -> list[str]:
    name, _, unit = SERIES[kind]
    values = [series(run.record, name) for run in runs]
    of_losses = "the loss, " if kind == "losses" else ""
    sentences = [
        f"{TITLES[kind]}: a line per run; x is the optimizer step, y is {of_losses}{unit}.",
        *_per_run(runs, partial(_range, name)),
    ]
    if len(runs) > 1 and values[0][0] and all(same(values[0][1], other) for _, other in values[1:]):
        sentences.append("The lines coincide at every step.")
    if kind == "losses":
        sentences += _per_run(runs, _epoch_means)
    if kind == "memory":
        sentences += _per_run(runs, _peak)
    return sentences


def _range(name: str, run: Run) -> str:
    steps, values = series(run.record, name)
    if not steps:
        return "no step in this run"
    finite = [(value, step) for step, value in zip(steps, values, strict=True) if math.isfinite(value)]
    if not finite:
        return f"none of the {len(steps):,} values is a finite number"
    (low, low_step), (high, high_step) = min(finite), max(finite, key=lambda point: point[0])
    missing = len(steps) - len(finite)
    gaps = f"; {missing:,} values are not finite numbers and left out" if missing else ""
    (first, first_step), (last, last_step) = finite[0], finite[-1]
    return (
        f"{len(steps):,} step{'' if len(steps) == 1 else 's'}, from {number(first)} at step {first_step} to "
        f"{number(last)} at step {last_step}, lowest {number(low)} at step {low_step}, highest {number(high)} at step "
        f"{high_step}{gaps}"
    )


def _epoch_means(run: Run) -> str:
    by_epoch: dict[int, list[float]] = {}
    for step, value in zip(*series(run.record, "loss"), strict=True):
        by_epoch.setdefault(run.record.epoch_of(step), []).append(value)
    means = [(epoch, sum(values) / len(values)) for epoch, values in by_epoch.items()]
    return "mean of each epoch: " + (_list(f"epoch {epoch} {number(mean)}" for epoch, mean in means) or "none")


def _peak(run: Run) -> str:
    peak = run.record.footer.get("peak_memory_mb")
    return "the peak is not known: the run did not finish" if peak is None else f"peak of the run {peak:,.0f} MB"


def _difference(runs: Sequence[Run], pair: Pair | None, pairs: Sequence[tuple[Run, Run]]) -> list[str]:
    sentences = ["Absolute difference of the training losses (mean per review); x is the optimizer step."]
    for run, other in pairs:
        steps, values = differences(run.record, other.record)
        apart = [(value, step) for step, value in zip(steps, values, strict=True) if value != 0]
        name = f"{run.label} against {other.label}"
        if not apart:
            sentences.append(f"{name}: 0.0 at all {len(steps):,} steps.")
            continue
        finite = [point for point in apart if math.isfinite(point[0])]
        largest = f"at most {number(max(finite)[0])}, at step {max(finite)[1]}" if finite else "never a finite number"
        sentences.append(
            f"{name}: not 0.0 at {len(apart):,} of {len(steps):,} steps, first at step {apart[0][1]}; {largest}."
        )
    return sentences


def _evaluations(name: str, runs: Sequence[Run], pair: Pair | None, pairs: Any) -> list[str]:
    quantity = "Validation accuracy, share of reviews right" if name == "eval_accuracy" else "Validation loss"
    show = "{:.1%}".format if name == "eval_accuracy" else number

    def points(run: Run) -> str:
        reported = zip(*evaluations(run.record, name), strict=True)
        return _list(f"after epoch {epoch:.4g} {show(value)}" for epoch, value in reported) or "no evaluation"

    return [f"{quantity}; x is the epochs done.", *_per_run(runs, points)]


def _time(runs: Sequence[Run], pair: Pair | None, pairs: Any) -> list[str]:
    def say(run: Run) -> str:
        phases, spread = phase_seconds(run.record), step_seconds(run.record)
        if spread is None:
            return "no step in this run"
        total = sum(training_seconds(line) for line in run.record.steps)
        parts = ", ".join(f"{phase} {duration(seconds)}" for phase, seconds in phases.items())
        step = f"a step takes {duration(spread.median)} (median; middle half {range_text(spread)})"
        return f"{step}; its phases {parts}; all steps {duration(total)}"

    return [
        "A stacked bar per run: the time of each phase, mean of the middle half of all optimizer steps but the first. "
        "Below it, a line from the shortest to the longest of this half, with a dot at the median.",
        *_per_run(runs, say),
        *([note] if (note := time_note(runs)) else []),
    ]


def _norms(runs: Sequence[Run], pair: Pair | None, pairs: Any) -> list[str]:
    sentences = []
    for name in norms_of(runs):
        known = [run for run in runs if has(run.record, name)]
        sentences.append(
            f"Gradient norm {', '.join(NORMS[name])}: a line per run; x is the optimizer step, y is the L2 norm."
        )
        sentences += _per_run(known, partial(_range, name))
    for limit, names in limits_of(runs).items():
        sentences.append(f"A dotted line at {show(limit)}: max_grad_norm, the limit of {_list(names)}.")
    clipped = [run for run in runs if run.record.config.max_grad_norm and has(run.record, "unclipped_norm")]
    return sentences + _per_run(clipped, clips_text)


def norms_of(runs: Sequence[Run]) -> list[str]:
    """The gradient norms that any of the runs has, before and after clipping; at least the latter."""
    return [name for name in NORMS if name == "grad_norm" or any(has(run.record, name) for run in runs)]


def limits_of(runs: Sequence[Run]) -> dict[float, list[str]]:
    """The limits to which the runs clip their gradients, each with the names of the runs; empty without clipping."""
    limits: dict[float, list[str]] = {}
    for run in runs:
        if run.record.config.max_grad_norm:
            limits.setdefault(run.record.config.max_grad_norm, []).append(run.label)
    return limits


def norm_title(name: str, runs: Sequence[Run]) -> str:
    """`before clipping; dotted: the limit, 1`."""
    limits = alternatives(map(show, limits_of(runs)))
    return NORMS[name][0] + (f"; dotted: the limit, {limits}" if limits else "")


def clips_text(run: Run) -> str:
    """`above the limit at 12 of 40 steps`."""
    return f"above the limit at {clips(run.record):,} of {len(run.record.steps):,} steps before clipping"


def _seconds(runs: Sequence[Run], pair: Pair | None, pairs: Any) -> list[str]:
    def say(run: Run) -> str:
        spread = step_seconds(run.record)
        return f"{duration(spread.median)} ({range_text(spread)})" if spread else "no step"

    lines = ["Time of a step: a bar from the shortest to the longest of the middle half, with a dot at the median."]
    return [*lines, *_per_run(runs, say), *([note] if (note := time_note(runs)) else [])]


def _batches(runs: Sequence[Run], pair: Pair | None, pairs: Any) -> list[str]:
    def say(run: Run) -> str:
        draws = [review for _, review in drawn_reviews(run.record)]
        tokens = sum(line["padded_tokens"] for line in run.record.steps)
        return (
            f"{len(run.record.steps):,} steps drew {len(set(draws)):,} different reviews in {len(draws):,} draws; "
            f"{padding_share(run.record):.1%} of {tokens:,} tokens are padding"
        )

    return [
        "Upper panel: a dot per review drawn; x is the optimizer step, y the review, numbered in the order of first "
        "draw. So the first epoch is a rising line and every later one a scatter.",
        "Lower panel: useful tokens and padding of each step, stacked.",
        *_per_run(runs, say),
        *([f"{reviews_note(runs)}."] if pair else []),
    ]


PARTS: dict[str, Callable[..., list[str]]] = {
    **{kind: partial(_series, kind) for kind in SERIES},
    "difference": _difference,
    "accuracy": partial(_evaluations, "eval_accuracy"),
    "validation-loss": partial(_evaluations, "eval_loss"),
    "gradient-norm": _norms,
    "time": _time,
    "seconds": _seconds,
    "batches": _batches,
}


def number(value: float) -> str:
    """Four significant digits."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.4g}"


def _list(texts: Any, most: int = 12) -> str:
    """Join with commas; of a long list the first and the last few."""
    items = list(texts)
    if len(items) > most:
        items = [*items[: most // 2], f"… ({len(items) - most} more) …", *items[-most // 2 :]]
    return ", ".join(items)
