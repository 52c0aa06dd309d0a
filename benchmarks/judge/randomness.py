"""Why the random state differs: seeds, additional passes over a loader, additional evaluations, stray draws."""

from __future__ import annotations

from benchmarks.judge.evidence import Evidence, epoch_start
from benchmarks.judge.finding import Finding, counted, follows_evaluation, line_of
from shared.recording.record import RunRecord


def random_state_cause(evidence: Evidence) -> Finding:
    if finding := evidence.first_of("mode", "dropout"):
        return finding
    if finding := _seeded_again(evidence) or _further_evaluation(evidence):
        return finding
    passes = [[loader["own_generator"] for loader in line.get("passes", [])] for line in epoch_start(evidence)]
    if any(passes[0]) and not any(passes[1]):
        return evidence.finding(
            "seed.loader",
            "the loader's generator: it was given one, so a pass over it no longer draws a number from torch's "
            "global random state; give the generator to the sampler alone",
        )
    if finding := _further_pass(evidence):
        return finding
    ours, theirs = (line.get("rng") or {} for line in evidence.lines)
    names = ["torch"]
    if isinstance(ours, dict):
        names = [name for name in ours if ours[name] != theirs.get(name)] or names
    whose = "" if names == ["torch"] else f" ({' and '.join(names)})"
    before = [(line.get("rng_before") or [None])[0] for line in evidence.lines]
    if before[0] and before[0] == before[1]:
        return evidence.finding(
            "seed.within",
            f"the random state{whose}: both loops begin step {evidence.step} with the same one, and within the step "
            "your loop draws different numbers: in the forward pass (another dropout), or between it and the "
            "optimizer's step (noise)",
        )
    if evidence.step == 1:
        return evidence.finding(
            "seed.state",
            f"the random state{whose}: batch and mode are equal, but the state is not; seed again right before "
            "training, and let nothing draw in between (every iter(DataLoader) draws once)",
        )
    if follows_evaluation(evidence.trainer, evidence.step) or evidence.starts_epoch:
        return evidence.finding(
            "seed.stray",
            f"a stray draw{whose}: one loop drew one more random number around the evaluation or the start of this "
            "epoch (every iter(DataLoader) draws once, also for the evaluation)",
        )
    return evidence.finding(
        "seed.stray",
        f"a stray draw: since the step before, one loop drew a random number{whose} that the other did not",
    )


def _further_pass(evidence: Evidence) -> Finding | None:
    """Whether more passes over a loader were begun than by Trainer, for this step or the evaluation before it."""

    def begun(record: RunRecord) -> int:
        before = next((line for line in record.evaluations if line["step"] == evidence.step - 1), {})
        return sum(len(line.get("passes", [])) for line in (before, line_of(record, evidence.step)))

    ours, theirs = begun(evidence.manual), begun(evidence.trainer)
    if ours <= theirs:
        return None
    return evidence.finding(
        "seed.passes",
        f"a stray draw: {counted(ours, 'pass')} over a loader begin in $loop before this batch, {theirs} in $Trainer, "
        "and each iter(DataLoader) draws a random number. tqdm.auto's tqdm(loader) begins one more; "
        "tqdm(enumerate(loader)) does not",
        {"manual": ours, "trainer": theirs},
    )


def _further_evaluation(evidence: Evidence) -> Finding | None:
    """Whether the loop has evaluated right before this step, and Trainer has not."""
    after = evidence.step - 1
    ours, theirs = (
        [line for line in record.evaluations if line["step"] == after]
        for record in (evidence.manual, evidence.trainer)
    )
    if len(ours) <= len(theirs):
        return None
    when = "before the first step" if after == 0 else f"after step {after}"
    line = ours[-1]
    return evidence.finding(
        "evaluate.before" if after == 0 else "evaluate.more",
        f"the evaluation's moment: your loop evaluates {when} ({line['samples']} examples in "
        f"{counted(len(line.get('batch_sizes', [])), 'batch')}), $Trainer does not; every pass over a loader draws a "
        "random number, and so dropout draws other numbers after it",
        {"reviews": line["samples"]},
    )


def _seeded_again(evidence: Evidence) -> Finding | None:
    """Whether torch's random state is one in which another step begins, in the manual loop and not in Trainer."""

    def same(record: RunRecord) -> int | None:
        states = line_of(record, evidence.step).get("rng_before") or [None]
        others = [line for line in record.steps if line["step"] != evidence.step]
        return next((line["step"] for line in others if states[0] in line.get("rng_before", [])), None)

    step = same(evidence.manual)
    if step is None or same(evidence.trainer) is not None:
        return None
    steps = sorted((step, evidence.step))
    return evidence.finding(
        "seed.again",
        f"the seed: step {steps[1]} begins with the random state of step {steps[0]} again, so dropout draws the same "
        "numbers again; a seed is set in between. Seed once, before training",
        {"steps": steps},
    )
