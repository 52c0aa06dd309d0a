"""What a verdict must add: what was not exercised, what was not compared, and what changes no number."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.judge.finding import more_than
from shared.files import read_json
from shared.recording.record import RunRecord

# What the loops themselves report after an evaluation.
REPORTED_EVALUATION = ("eval_loss", "eval_accuracy")
# What they report about the training, without measurements of time and speed, which differ in every run.
REPORTED_TRAINING = ("loss", "grad_norm", "learning_rate", "epoch")


def never_acted(trainers: list[RunRecord]) -> list[str]:
    """What these settings and this subset did not exercise: a loop that lacks it would be identical, too.

    A sentence each, with the evidence.
    """
    record, config = trainers[0], trainers[0].config
    steps = [line for trainer in trainers for line in trainer.steps]
    sentences = []
    unclipped = [line["unclipped_norm"] for line in steps if line.get("unclipped_norm") is not None]
    if config.max_grad_norm and unclipped and max(unclipped) <= config.max_grad_norm:
        sentences.append(
            f"the clip, because no gradient norm was above {max(unclipped):.3g}, and max_grad_norm is "
            f"{config.max_grad_norm:g}"
        )
    lengths = [n for line in steps for batch in line.get("lengths", ()) for n in batch]
    # In a user's own job the script cuts the texts, or does not.
    if lengths and max(lengths) < config.max_length and "job" not in record.header:
        sentences.append(f"max_length {config.max_length}, because the longest text has {max(lengths)} tokens")
    if len(record.steps) <= record.steps_per_epoch:
        sentences.append("a new order in every epoch, and train mode after an evaluation, because there was one epoch")
    evaluations = [sizes for line in record.evaluations if (sizes := line.get("batch_sizes"))]
    if evaluations and all(len(set(sizes)) == 1 for sizes in evaluations):
        sentences.append("a smaller last evaluation batch, because every evaluation batch was full")
    sizes = {line["samples"] for line in steps}
    if config.dataloader_drop_last and len(sizes) == 1 and config.train_size % config.per_device_train_batch_size == 0:
        sentences.append("dataloader_drop_last, because every batch was full")
    if config.gradient_accumulation_steps > 1 and all(len(line["batch"]) == 1 for line in steps):
        sentences.append("gradient_accumulation_steps, because every step had one batch")
    rates = {line["learning_rate"] for line in steps}
    if not config.lr_scheduler_type.startswith("constant") and len(rates) == 1:
        sentences.append(f"the schedule, because every step had the same learning rate, {rates.pop():g}")
    return sentences


def what_else(manual: RunRecord, trainer: RunRecord) -> Iterator[str]:
    """What was not compared, because the manual loop does not show it, and what changes no number; a sentence each."""
    records = (manual, trainer)
    if has_no_steps(manual):
        yield (
            "not compared: the steps; no optimizer of torch.optim made one, so they were not seen. What was "
            "compared: the evaluations and the weights at the end"
        )
    hides_its_loss = [any(None in (line.get("forward_losses") or ()) for line in record.steps) for record in records]
    if hides_its_loss == [True, False]:
        yield (
            "not compared: the model's own loss and its labels, which $loop keeps from it; what goes into "
            "backward() was"
        )
    if is_lenient(manual):
        evaluated = [{line["step"] for line in record.evaluations} for record in records]
        if more := sorted(evaluated[0] - evaluated[1]):
            steps = ", ".join(map(str, more))
            yield f"not compared: the evaluations after steps {steps}, which $Trainer does not make"
        lines = [{line["step"]: line for line in record.evaluations} for record in records]
        counts = {step: more_than(line, lines[1].get(step, {})) for step, line in lines[0].items()}
        if further := {step: count for step, count in counts.items() if count}:
            numbers, steps = " and ".join(map(str, dict.fromkeys(further.values()))), ", ".join(map(str, further))
            yield (
                f"not compared: {numbers} more examples that $loop evaluates after "
                f"{'steps' if len(further) > 1 else 'step'} {steps}, beside those of $Trainer"
            )
        for name in (*REPORTED_EVALUATION, "loss"):
            ours, theirs = (sum(name in line for line in record.log_history) for record in records)
            if ours < theirs:
                yield f"not compared: {name} of {theirs - ours} log lines, which the loop does not return"
    if [any(line.get("graph") for line in record.evaluations) for record in records] == [True, False]:
        yield (
            "the evaluation in $loop builds graphs, which changes no number but costs memory: put it under "
            "torch.no_grad()"
        )


def saved_config_differences(manual_dir: Path, trainer_dir: Path) -> list[str]:
    """In which entries the two saved models' `config.json` differ; weights are compared elsewhere."""
    if not any((folder / "config.json").exists() for folder in (manual_dir, trainer_dir)):
        return []  # a model without one
    try:
        ours, theirs = (dict(read_json(folder / "config.json")) for folder in (manual_dir, trainer_dir))
    except (OSError, ValueError, TypeError):
        return ["not compared: the saved models' config.json, one of which cannot be read"]
    names = [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]
    values = (
        f"{name} ({ours.get(name, 'not set')} in $loop, {theirs.get(name, 'not set')} in $Trainer)" for name in names
    )
    return [f"the saved config.json files differ in {', '.join(values)}"] if names else []


def is_lenient(manual: RunRecord) -> bool:
    """Whether the run is of a loop that the user passed with `--loop`: it may report less than `Trainer` does."""
    return manual.config.loop is not None


def has_no_steps(manual: RunRecord) -> bool:
    """Whether the run has come to its end without a step that could be seen."""
    return bool(manual.footer) and not manual.steps
