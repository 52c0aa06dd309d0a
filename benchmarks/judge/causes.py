"""What causes a divergence, decided from the evidence in the two records, and from nothing else.

Two kinds of rules. `findings` holds the two loops' ways of working against each other: the optimizer's settings, the
mode, the schedule, the clip, what was left in the gradients. These differ or not whatever the numbers are, so a loop
with three mistakes has three findings. `likely_cause` then says which of them explains the quantity that differs
first, or decides from that quantity's own values; where the evidence does not decide, it says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, NamedTuple

from shared.recording.record import RunRecord

NOT_DECIDED = "not decided"
# A norm after a clip is equal to the limit up to the rounding of one division and one product in float32.
ROUNDING = 1e-4


class Finding(NamedTuple):
    """One way in which the loop by hand works otherwise than `Trainer`.

    Attributes:
        phase: which part of the loop.
        step: the first step that shows it, from 1; 0: it is so from the start.
        text: what was seen, and what to do.
    """

    phase: str
    step: int
    text: str


class Evidence(NamedTuple):
    """What a rule may look at.

    Attributes:
        step: the optimizer step of the first divergence, from 1; 0 is before the first.
        quantity: the quantity that differs first.
        manual, trainer: the two records.
    """

    step: int
    quantity: str
    manual: RunRecord
    trainer: RunRecord

    def line(self, record: RunRecord, step: int | None = None) -> dict[str, Any]:
        """The record's line of `step` (by default the diverging one), or {} if it has none."""
        number = self.step if step is None else step
        return record.steps[number - 1] if 1 <= number <= len(record.steps) else {}

    @property
    def lines(self) -> tuple[dict[str, Any], dict[str, Any]]:
        return self.line(self.manual), self.line(self.trainer)

    @property
    def after_evaluation(self) -> bool:
        """Whether an evaluation lies between this step and the one before."""
        return follows_evaluation(self.trainer, self.step)

    @property
    def starts_epoch(self) -> bool:
        return (self.step - 1) % self.trainer.steps_per_epoch == 0

    @property
    def weights_differ(self) -> bool:
        """Whether the step began with other weights."""
        ours, theirs = self.lines
        return ours.get("weights") != theirs.get("weights")

    def found(self, *phases: str) -> str | None:
        """What was found in one of these phases up to this step; the earliest phase's text, None if nothing was."""
        known = [each for each in findings(self.manual, self.trainer) if each.step <= max(self.step, 1)]
        return next((each.text for phase in phases for each in known if each.phase == phase), None)


def follows_evaluation(record: RunRecord, step: int) -> bool:
    return any(line["step"] == step - 1 for line in record.evaluations)


def likely_cause(step: int, quantity: str, manual: RunRecord, trainer: RunRecord) -> str:
    """One sentence or two: what the evidence says about why the runs part here.

    Args:
        step: the step of the first divergence, from 1; 0 is before the first.
        quantity: what differs first, as `benchmarks.verdict.verdict` names it.
        manual, trainer: the two records.
    """
    evidence = Evidence(step, quantity, manual, trainer)
    if not_reproducible := _not_reproducible(evidence):
        return not_reproducible
    rule = next(rule for prefix, rule in RULES if quantity.startswith(prefix))
    return rule(evidence)


def other_findings(step: int, cause: str, manual: RunRecord, trainer: RunRecord) -> list[str]:
    """What else the loop by hand does otherwise, besides the cause of the first divergence.

    Nothing where the runs were given different dials, or where a run is not equal to itself.
    """
    if cause.startswith(("no mistake", "the two runs", "the upstream fault", "the model:")):
        return []
    # Batches of another size make another number of steps, and so another schedule.
    follows = ("schedule",) if cause.startswith(("the loader:", "accumulation:")) else ()
    return [each.text for each in findings(manual, trainer) if each.text not in cause and each.phase not in follows]


# How the loop by hand works otherwise -------------------------------------------------------------


def findings(manual: RunRecord, trainer: RunRecord) -> list[Finding]:
    """Every way of working in which the two loops differ, in the order of a step; each phase once."""
    found: dict[str, Finding] = {}
    for rule in (_frozen, _dtypes, _optimizer_settings, _by_step, _schedule, _evaluations):
        for finding in rule(manual, trainer):
            found.setdefault(finding.phase, finding)
    return list(found.values())


def _frozen(manual: RunRecord, trainer: RunRecord) -> Iterator[Finding]:
    ours, theirs = (set(record.start.get("frozen", [])) for record in (manual, trainer))
    if extra := sorted(ours - theirs):
        yield Finding("model", 0, f"frozen weights: {_names(extra)} cannot learn by hand (requires_grad is False)")
    elif extra := sorted(theirs - ours):
        yield Finding("model", 0, f"frozen weights: {_names(extra)} learn by hand, and must not (freeze_body)")


def _dtypes(manual: RunRecord, trainer: RunRecord) -> Iterator[Finding]:
    ours, theirs = (record.start.get("dtypes") for record in (manual, trainer))
    if ours != theirs and ours and theirs:
        yield Finding(
            "dtype", 0, f"the weights' type: {' and '.join(ours)} by hand, {' and '.join(theirs)} in Trainer"
        )


def _optimizer_settings(manual: RunRecord, trainer: RunRecord) -> Iterator[Finding]:
    missing = _missing(manual)
    if missing and missing != _missing(trainer):
        yield Finding("optimizer", 0, f"the optimizer: {_names(missing)} are in none of its groups and cannot learn")
    if settings := _optimizer_differences(manual, trainer):
        yield Finding("optimizer", 0, f"the optimizer: its settings differ ({settings})")


def _missing(record: RunRecord) -> list[str]:
    """The weights that could learn and are in none of the optimizer's groups."""
    return record.start.get("optimizer", {}).get("missing", [])


def _optimizer_differences(manual: RunRecord, trainer: RunRecord) -> str:
    """`weight_decay 0.01 by hand, 0.0 in Trainer`, from the records' description of the optimizer."""
    ours, theirs = (record.start.get("optimizer", {}) for record in (manual, trainer))
    if ours.get("class") != theirs.get("class"):
        return f"{ours.get('class')} by hand, {theirs.get('class')} in Trainer"
    our_groups, their_groups = ours.get("groups", []), theirs.get("groups", [])
    if len(our_groups) == 1:
        # One group against two: its settings are held against those that the two have in common.
        our_groups = our_groups * len(their_groups)
    found = [
        f"{name} {mine[name]} by hand, {other.get(name)} in Trainer"
        for mine, other in zip(our_groups, their_groups, strict=False)
        for name in mine
        if name not in ("initial_lr", "parameters") and mine[name] != other.get(name)
    ]
    sizes = [[group["parameters"] for group in record] for record in (our_groups, their_groups)]
    if not found and sizes[0] != sizes[1] and len({str(group.get("weight_decay")) for group in their_groups}) > 1:
        found = ["parameters are split into other groups"]
    return "; ".join(dict.fromkeys(found))


def _by_step(manual: RunRecord, trainer: RunRecord) -> Iterator[Finding]:
    """What single steps show of the way of working, each at the first step that shows it."""
    for ours, theirs in zip(manual.steps, trainer.steps, strict=False):
        step = ours["step"]
        for rule in (_mode_of_step, _dropout, _autocast, _backward_passes, _leftover, _between, _detached, _clip):
            if (found := rule(ours, theirs, manual, trainer)) is not None:
                phase, text = found
                yield Finding(phase, step, text)


StepRule = tuple[str, str] | None


def _mode_of_step(ours: dict, theirs: dict, manual: RunRecord, trainer: RunRecord) -> StepRule:
    wrong, right = set(ours.get("mode", [])), set(theirs.get("mode", []))
    if wrong == right or not wrong or not right:
        return None
    if "eval" in wrong and right == {"train"}:
        when = "after the evaluation" if follows_evaluation(trainer, ours["step"]) else "before this step"
        return "train mode", f"train mode: dropout is off because model.train() was not called {when}"
    return "train mode", f"train mode: the model was in {' and '.join(sorted(wrong))} mode by hand, not in Trainer"


def _dropout(ours: dict, theirs: dict, manual: RunRecord, trainer: RunRecord) -> StepRule:
    mine, other = (line.get("dropout", [[]])[:1] for line in (ours, theirs))
    if mine == other or ours.get("mode") != theirs.get("mode") or not mine or not other:
        return None
    texts = [", ".join(f"{p:g}" for p in each[0]) or "none" for each in (mine, other)]
    return "dropout", f"dropout: the layers that are on drop {texts[0]} by hand, {texts[1]} in Trainer"


def _autocast(ours: dict, theirs: dict, manual: RunRecord, trainer: RunRecord) -> StepRule:
    mine, other = (set(line.get("autocast", [])) for line in (ours, theirs))
    if mine == other or not mine or not other:
        return None
    texts = [" and ".join(str(each or "float32") for each in kinds) for kinds in (mine, other)]
    return "forward", f"autocast: the forward pass runs in {texts[0]} by hand, in {texts[1]} in Trainer"


def _backward_passes(ours: dict, theirs: dict, manual: RunRecord, trainer: RunRecord) -> StepRule:
    mine, other = (line.get("backward_passes", []) for line in (ours, theirs))
    if not mine or len(mine) != len(other) or mine == other:
        return None
    if not any(mine):
        return "backward", "backward: loss.backward() is not called, so there is no gradient to learn from"
    return "backward", f"backward: loss.backward() is called {max(mine)} times for a batch, in Trainer {max(other)}"


def _leftover(ours: dict, theirs: dict, manual: RunRecord, trainer: RunRecord) -> StepRule:
    mine, other = (line.get("gradients", {}).get("left", 0.0) for line in (ours, theirs))
    # What the optimizer does not hold, it does not forget either: that has a finding of its own.
    if not mine or other or _missing(manual):
        return None
    return "zero", (
        "leftover gradients: zero_grad() is missing after the step before, so its gradients are added to these "
        f"(norm {mine:.4g} was there before the first backward pass of this step)"
    )


def _between(ours: dict, theirs: dict, manual: RunRecord, trainer: RunRecord) -> StepRule:
    """With accumulation: what happens to the gradients between two backward passes of one step."""
    mine, after = ours.get("gradients", {}).get("between", []), ours.get("gradients", {}).get("backward", [])
    other = theirs.get("gradients", {}).get("between", [])
    if len(mine) != len(other):
        return None
    for before, now, right in zip(after, mine, other, strict=False):
        if now == 0 and right > 0:
            return "zero", (
                "zero_grad() inside the accumulation: the gradients of the batches before are forgotten, only the "
                "last batch counts; call it once per step"
            )
        if now < before:
            return "clip", (
                f"the clip: gradients are scaled between two batches of one step ({before:.4g} to {now:.4g}); clip "
                "once, after the last batch's backward pass"
            )
    return None


def _detached(ours: dict, theirs: dict, manual: RunRecord, trainer: RunRecord) -> StepRule:
    mine, other = (set(line.get("without_gradient", [])) for line in (ours, theirs))
    frozen = set(trainer.start.get("frozen", [])) ^ set(manual.start.get("frozen", []))
    extra = sorted(mine - other - frozen)
    if not extra or not any(ours.get("backward_passes", [])):
        return None
    return "backward", (
        f"no gradient: {_names(extra)} get none by hand; the loss does not reach them (a detach, a no_grad, or an "
        "output that is not used)"
    )


def _clip(ours: dict, theirs: dict, manual: RunRecord, trainer: RunRecord) -> StepRule:
    """Whether the gradients are clipped, told by what happens to them after the last backward pass."""
    limit = trainer.config.max_grad_norm
    norm, at_step = ours.get("unclipped_norm"), ours.get("grad_norm", 0.0)
    scaled = ours.get("gradients", {}).get("scaled")
    their_scaled = theirs.get("gradients", {}).get("scaled") or [1.0, 1.0]
    if norm is None or scaled is None or not any(ours.get("backward_passes", [])):
        return None
    if manual.start.get("dtypes") != trainer.start.get("dtypes"):
        return None  # in 16 bits, norms round too coarsely to say
    lowest, highest = scaled
    if limit and norm > limit * (1 + ROUNDING) and lowest == highest == 1.0:
        return "clip", (
            f"the clip: by hand the gradients reach the optimizer at norm {at_step:.4g}, Trainer scales them down to "
            f"max_grad_norm {limit:g}"
        )
    if highest - lowest > ROUNDING and their_scaled[1] - their_scaled[0] <= ROUNDING:
        return "clip", (
            f"the clip: by hand some tensors are scaled more than others (by {lowest:.4g} to {highest:.4g}), as "
            "clip_grad_value_ or a clip per tensor does; Trainer scales all alike, with clip_grad_norm_"
        )
    target = min(norm, limit) if limit else norm
    if norm and lowest != 1.0 and not _missing(manual) and not math.isclose(at_step, target, rel_tol=10 * ROUNDING):
        what = f"to max_grad_norm {limit:g}" if limit else "not at all"
        return "clip", f"the clip: by hand norm {norm:.4g} is scaled to {at_step:.4g}, Trainer scales it {what}"
    return None


def _schedule(manual: RunRecord, trainer: RunRecord) -> Iterator[Finding]:
    """The learning rates of all steps: they depend on no weight, so each differs for a reason of its own."""
    ours, theirs = ([line["learning_rate"] for line in record.steps] for record in (manual, trainer))
    step = next((n for n, (a, b) in enumerate(zip(ours, theirs, strict=False), start=1) if a != b), None)
    if step is not None:
        yield Finding("schedule", step, _schedule_text(step, ours, theirs, len(manual.steps[0]["batch"])))
        return
    groups = [[line.get("learning_rates") for line in record.steps[:1]] for record in (manual, trainer)]
    if groups[0] != groups[1] and all(map(any, groups)) and len(groups[0][0]) == len(groups[1][0]):
        yield Finding("optimizer", 1, f"the groups' learning rates: {groups[0][0]} by hand, {groups[1][0]} in Trainer")


def _schedule_text(step: int, ours: list[float], theirs: list[float], batches: int) -> str:
    """What the two sequences of learning rates say; `batches`: how many make up one step by hand."""
    count = min(len(ours), len(theirs))
    mine, other = ours[step - 1], theirs[step - 1]
    values = f"the schedule: {mine:.6g} against {other:.6g}"
    if step > 1 and len(set(ours[:count])) == 1:
        return "the schedule: the learning rate stood still by hand; call scheduler.step() after every optimizer step"
    ratios = [a / b for a, b in zip(ours[:count], theirs[:count], strict=True) if b]
    if step == 1 and len(ratios) > 1 and all(math.isclose(ratio, ratios[0], rel_tol=1e-9) for ratio in ratios):
        return f"the learning rate: {ratios[0]:.6g} times Trainer's at every step; check the optimizer's lr"
    # Of the schedules that move at all, does ours run ahead of Trainer's, or faster?
    if len(set(theirs[:count])) > 1:
        if count > 2 and _same_sequence(ours[: count - 1], theirs[1:count]):
            return (
                f"{values}: by hand every step has the learning rate that Trainer has one step later; call "
                "scheduler.step() after optimizer.step(), not before"
            )
        per_batch = f"by hand it moves {batches} times per step; call scheduler.step() once, after optimizer.step()"
        if batches > 1 and _runs_ahead(ours[:count], theirs[batches:count], batches):
            return f"{values}: {per_batch}"
        check = "check its shape, the warm-up and the total number of steps"
        for speed in range(2, count) if step == 2 else ():
            if _runs_ahead(ours[:count], theirs[:count], speed):
                if speed == batches:
                    return f"{values}: {per_batch}"
                return f"{values}: by hand it moves {speed} times as fast; {check}"
            if _runs_ahead(theirs[:count], ours[:count], speed):
                return f"{values}: by hand it moves {speed} times as slowly; {check} (not of batches)"
    return f"{values}; check its shape, the warm-up and the total number of steps"


def _runs_ahead(fast: list[float], slow: list[float], speed: int) -> bool:
    """Whether every step of one schedule has the rate that the other has `speed` times as many steps later."""
    ahead = slow[::speed]
    return len(ahead) > 1 and _same_sequence(fast[: len(ahead)], ahead)


def _same_sequence(ours: list[float], theirs: list[float]) -> bool:
    return all(math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-15) for a, b in zip(ours, theirs, strict=True))


def _evaluations(manual: RunRecord, trainer: RunRecord) -> Iterator[Finding]:
    for ours, theirs in zip(manual.evaluations, trainer.evaluations, strict=False):
        if ours["step"] != theirs["step"]:
            return
        if set(ours["mode"]) != set(theirs["mode"]):
            yield Finding(
                "evaluation's mode",
                ours["step"],
                "the evaluation's mode: call model.eval() before and model.train() after",
            )
        if "batch" in ours and ours["samples"] != theirs["samples"]:
            yield Finding("evaluation's batches", ours["step"], _evaluation_batches(ours, theirs))


def _names(names: list[str]) -> str:
    """`classifier.bias`, or `12 tensors (distilbert.embeddings.word_embeddings.weight first)`."""
    return names[0] if len(names) == 1 else f"{len(names)} tensors ({names[0]} first)"


# What explains the quantity that differs first ----------------------------------------------------

# What rounding can move without anything being wrong.
SUMS = ("forward_losses", "losses", "grad_norm", "eval_forward_logits", "eval_forward_loss", "eval_loss", "weights")


def _not_reproducible(evidence: Evidence) -> str | None:
    """Where a run is not even equal to itself, there is no other cause to look for."""
    config, device = evidence.trainer.config, evidence.trainer.header["environment"]["device"]
    if config.full_determinism or evidence.quantity not in SUMS:
        return None
    if config.torch_compile:
        what = "what torch.compile makes of the embeddings' gradient"
    elif device != "cpu" and not config.use_cpu:
        what = "some of the GPU's sums (embeddings' gradient, attention's backward pass)"
    else:
        return None
    return (
        f"no mistake, perhaps: {what} adds up in an order that varies from run to run, so the same loop run twice "
        "differs in the last digits too; compare with --full-determinism, which must be identical"
    )


def _config(evidence: Evidence) -> str:
    return "the two runs were given different dials"


def _number_of_processes(evidence: Evidence) -> str:
    return "the two runs had different numbers of processes"


def _initial_weights(evidence: Evidence) -> str:
    if found := evidence.found("dtype"):
        return found
    kinds = [record.start.get("model") for record in (evidence.manual, evidence.trainer)]
    if kinds[0] != kinds[1]:
        return (
            f"the model: what is called first is a {kinds[0]} by hand and a {kinds[1]} in Trainer; call the model "
            "that was loaded, not a part of it or another one"
        )
    name = evidence.quantity.removeprefix("initial weights: ")
    if "classifier" in name:
        return (
            f"the head: {name} is the first tensor that differs and the body is equal, so the new head was drawn "
            "from another random state; seed right before the model is built"
        )
    return f"the body: {name} is the first tensor that differs before any step; other pretrained weights were loaded"


def _batch(evidence: Evidence) -> str:
    ours, theirs = evidence.lines
    mine, other = ours["batch"], theirs["batch"]
    if len(mine) != len(other):
        idle = sum(not count for count in ours.get("backward_passes", []))
        text = f"accumulation: one step took {len(mine)} batches by hand and {len(other)} in Trainer; "
        if idle and idle != len(mine):
            return text + f"{idle} of them had no backward pass"
        return text + "check gradient_accumulation_steps and the epoch's short last group"
    if ours["samples"] != theirs["samples"]:
        sizes = [(line.get("passes") or [{}])[0].get("batch_size") for line in (_epoch_start(evidence))]
        of_whom = f" (batch size {sizes[0]} by hand, {sizes[1]} in Trainer)" if sizes[0] != sizes[1] else ""
        return (
            f"the loader: {ours['samples']} reviews against {theirs['samples']}{of_whom}; check the batch size and "
            "what happens to a smaller last batch"
        )
    differing = [number for number, pair in enumerate(zip(mine, other, strict=True)) if differing_inputs(*pair)]
    # Records of an older make, or made up, say no more.
    if not differing or not isinstance(mine[differing[0]], dict):
        return f"{NOT_DECIDED}: the batches differ"
    first = differing[0]
    inputs = set().union(*(differing_inputs(mine[number], other[number]) for number in differing))
    if inputs == {"labels"}:
        shown = ours["labels"][first][:8], theirs["labels"][first][:8]
        flipped = all(a == 1 - b for a, b in zip(ours["labels"][first], theirs["labels"][first], strict=True))
        how = "every 0 is a 1 and every 1 a 0" if flipped else f"{shown[0]} by hand, {shown[1]} in Trainer"
        return f"the labels: the same reviews with other labels; {how}"
    if inputs == {"attention_mask"}:
        if not ours["masked"][first]:
            return (
                "the attention mask: the model is given none, so it takes padding for words; pass attention_mask along"
            )
        return "the attention mask: the same tokens with another mask"
    reviews, their_reviews = ours["reviews"], theirs["reviews"]
    if reviews == their_reviews and ours["padded_tokens"] != theirs["padded_tokens"]:
        return "the collator: the same tokens were padded to another length; pad each batch to its longest review"
    if reviews == their_reviews:
        return "the collator: the same reviews, padded otherwise (on which side, or with which token?)"
    if cut := _cut(evidence):
        return cut
    if sorted(chain(*reviews)) == sorted(chain(*their_reviews)):
        return "the order within the batch: the same reviews, arranged otherwise"
    return _order(evidence)


def differing_inputs(ours: Any, theirs: Any) -> set[str]:
    """The inputs in which two batches differ; one that only one of the models was given is not compared."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return {name for name in ours.keys() & theirs.keys() if ours[name] != theirs[name]}
    return set() if ours == theirs else {"batch"}


def _epoch_start(evidence: Evidence) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both loops' first step of this epoch, where the pass over the loader began."""
    start = (evidence.step - 1) // evidence.trainer.steps_per_epoch * evidence.trainer.steps_per_epoch + 1
    return evidence.line(evidence.manual, start), evidence.line(evidence.trainer, start)


def _cut(evidence: Evidence) -> str | None:
    """Whether the batch holds the same reviews, cut to another length."""
    ours, theirs = evidence.lines
    longest = [
        max((n for line in record.steps for batch in line["lengths"] for n in batch), default=0)
        for record in (evidence.manual, evidence.trainer)
    ]
    if longest[0] == longest[1]:
        return None
    short, long = (ours, theirs) if longest[0] < longest[1] else (theirs, ours)
    reviews = [chain(*line["reviews"]) for line in (short, long)]
    lengths = [chain(*line["lengths"]) for line in (short, long)]
    if not all(
        one == other or (n == min(longest) and m > n) for one, other, n, m in zip(*reviews, *lengths, strict=True)
    ):
        return None
    return (
        f"max_length: the same reviews, cut to {longest[0]} tokens by hand and to {longest[1]} in Trainer; tokenize "
        f"with truncation=True, max_length={evidence.trainer.config.max_length}"
    )


def _order(evidence: Evidence) -> str:
    """Other reviews in a batch: another slice, or another order of the same one."""
    drawn = [
        {digest for line in record.steps for batch in line["reviews"] for digest in batch}
        for record in (evidence.manual, evidence.trainer)
    ]
    if foreign := len(drawn[0] - drawn[1]):
        return (
            f"the slice: {foreign} of the {len(drawn[0])} reviews drawn by hand are not in Trainer's training slice; "
            "take shuffle(seed=slice_seed).select(range(train_size)), and no review of the evaluation"
        )
    if evidence.step > 1 and not evidence.starts_epoch:
        return "the sampler or the loader: the batches part in the middle of an epoch"
    where = (
        "the sampler: other reviews from the first batch on"
        if evidence.step == 1
        else "the sampler: the order differs from this epoch on"
    )
    config, epoch = evidence.trainer.config, evidence.trainer.epoch_of(evidence.step) - 1
    seed = config.seed if config.data_seed is None else config.data_seed
    passes = _epoch_start(evidence)[0].get("passes", [])
    found = passes[0] if passes else {}
    right = f"with seed + epoch ({seed + epoch} here)"
    rule = f"seed the sampler's own generator {right}"
    if config.train_sampling_strategy != "random" or not found:
        return f"{where}; {rule}"
    if found["sampler"] == "SequentialSampler":
        return f"{where}: by hand they come as they lie, not shuffled; use a RandomSampler, and {rule}"
    if found["draws_first"]:
        return (
            f"{where}: the loader was given the sampler's generator, too, and draws from it first; give it to the "
            "sampler alone, DataLoader(sampler=RandomSampler(dataset, generator=generator))"
        )
    if found["sampler_seed"] is None:
        return f"{where}: it draws from torch's global random state, as shuffle=True does; {rule}"
    if found["sampler_seed"] != seed + epoch:
        return f"{where}: its generator was seeded with {found['sampler_seed']}; seed it anew in every epoch, {right}"
    return f"{where}: its generator was seeded with {seed + epoch}, as it must, but drawn from otherwise"


def _mode(evidence: Evidence) -> str:
    return evidence.found("train mode") or NOT_DECIDED


def _rng(evidence: Evidence) -> str:
    if found := evidence.found("train mode", "dropout"):
        return found
    passes = [[each["own_generator"] for each in line.get("passes", [])] for line in _epoch_start(evidence)]
    if any(passes[0]) and not any(passes[1]):
        return (
            "the loader's generator: it was given one, so a pass over it no longer draws its number from torch's "
            "global random state; give the generator to the sampler alone"
        )
    ours, theirs = (line.get("rng") for line in evidence.lines)
    names = [name for name in ours if ours[name] != theirs.get(name)] if isinstance(ours, dict) else ["torch"]
    whose = "" if names == ["torch"] else f" ({' and '.join(names)})"
    if evidence.step == 1:
        return (
            f"the random state{whose}: batch and mode are equal, but the state is not; seed again right before "
            "training, and let nothing draw in between (every iter(DataLoader) draws once)"
        )
    if evidence.after_evaluation or evidence.starts_epoch:
        return (
            f"a stray draw{whose}: one loop drew a random number more around the evaluation or the start of this "
            "epoch (every iter(DataLoader) draws once, also for the evaluation)"
        )
    return f"a stray draw: one loop drew a random number{whose} that the other did not since the step before"


def _forward_loss(evidence: Evidence) -> str:
    if evidence.step == 1 or not evidence.weights_differ:
        return evidence.found("forward", "dtype") or (
            "the forward pass: weights, batch and random state are equal, the loss is not; check dropout, "
            "autocast, and how the loss is computed"
        )
    return _weights_moved_differently(evidence)


def _backward_loss(evidence: Evidence) -> str:
    ours, theirs = evidence.lines
    mine, other = ours["losses"], theirs["losses"]
    if found := evidence.found("backward"):
        return found
    if evidence.trainer.config.trainer_defaults and mine and other and mine[0]:
        return (
            f"the upstream fault: without the remedy, Trainer's loss is {other[0] / mine[0]:.6g} times too large; it "
            "believes that DistilBERT divides its loss by the number of items and leaves its own division out "
            "(huggingface/transformers#47688)"
        )
    if evidence.step > 1 and evidence.weights_differ:
        return _weights_moved_differently(evidence)
    if found := evidence.found("forward", "dtype"):
        return found
    if None in ours["forward_losses"] and None not in theirs["forward_losses"]:
        return (
            "the criterion: the model computes no loss by hand, and the one handed to backward() is another than the "
            "model's; use the mean cross-entropy of the batch"
        )
    ratios = [a / b for a, b in zip(mine, other, strict=False) if b]
    factor = ""
    if ratios:
        size = len(ours["reviews"][0]) if ours.get("reviews") else 0
        why = f", the batch's {size} reviews: a sum, not a mean" if size > 1 and math.isclose(ratios[0], size) else ""
        factor = f" (by hand {ratios[0]:.6g} times Trainer's{why})"
    # Groups of batches that are divided by the wrong number show in the short one only.
    smoothing = " and label smoothing" if evidence.trainer.config.label_smoothing_factor else ""
    return (
        f"the loss's scale: the model's loss is equal, the one handed to backward() is not{factor}; check what it is "
        f"divided by, gradient_accumulation_steps or the size of a short last group{smoothing}"
    )


def _grad_norm(evidence: Evidence) -> str:
    ours, theirs = evidence.lines
    if found := evidence.found("zero", "model", "backward"):
        return found
    if _missing(evidence.manual) and (found := evidence.found("optimizer")):
        return found
    if evidence.weights_differ:
        return _weights_moved_differently(evidence)
    if ours.get("unclipped_norm") == theirs.get("unclipped_norm"):
        if found := evidence.found("clip"):
            return found
        mine, other = ours["grad_norm"], theirs["grad_norm"]
        if other and math.isclose(mine, other, rel_tol=ROUNDING) and ours.get("gradients"):
            return (
                f"the clip's arithmetic: the gradients are equal, and both clips end at norm {other:.4g}, but not in "
                "the last digits; torch.nn.utils.clip_grad_norm_ multiplies by max_norm / (norm + 1e-6)"
            )
        return f"{NOT_DECIDED}: the gradients are equal after the backward pass, at the optimizer they are not"
    if found := evidence.found("clip"):
        return found
    mine, other = ours.get("unclipped_norm"), theirs.get("unclipped_norm")
    how = f" ({mine / other:.6g} times Trainer's)" if mine and other else ""
    return (
        f"{NOT_DECIDED}: weights, batch and loss are equal, the gradients of the backward pass are not{how}; what the "
        "loss is made of differs, or how it is differentiated"
    )


def _learning_rate(evidence: Evidence) -> str:
    return evidence.found("schedule") or NOT_DECIDED


def _weights_moved_differently(evidence: Evidence) -> str:
    """Same batch, random state and earlier gradients, another loss: the step before moved the weights otherwise."""
    return evidence.found("optimizer", "model", "dtype", "backward") or (
        "the optimizer: up to here gradients and learning rates are equal, so the step before moved the weights "
        "otherwise; check the kind of optimizer, its settings, and what else touches the weights"
    )


def _when_to_evaluate(evidence: Evidence) -> str:
    return (
        "the epoch's length or the evaluation's moment: only one loop evaluates here; check whether a last batch "
        "that is not full is left out, and when to evaluate"
    )


def _evaluation(evidence: Evidence) -> str:
    ours, theirs = (
        next((line for line in record.evaluations if line["step"] == evidence.step), {})
        for record in (evidence.manual, evidence.trainer)
    )
    reported = next((line for line in evidence.manual.log_history if line.get("step") == evidence.step), None)
    if evidence.quantity in ("eval_loss", "eval_accuracy") and not any(
        evidence.quantity in line for line in evidence.manual.log_history if line.get("step") == evidence.step
    ):
        what = "nothing" if reported is None or not evidence.manual.log_history else f"no {evidence.quantity}"
        return f"the report: the loop returned {what} for this evaluation, which itself is equal; return its values"
    if evidence.quantity == "eval_forward_batch":
        return _evaluation_batches(ours, theirs)
    if evidence.quantity == "eval_forward_logits" and (
        ours.get("autocast", [None])[:1] != theirs.get("autocast", [None])[:1]
    ):
        return "the evaluation's precision: one loop evaluates under autocast, the other does not"
    if evidence.quantity == "eval_loss":
        values = [
            line["eval_loss"]
            for record in (evidence.manual, evidence.trainer)
            for line in record.log_history
            if line.get("step") == evidence.step and line.get("eval_loss") is not None
        ]
        # float32 holds 24 bits; a sum of n numbers is off by at most about n / 2 units of the last.
        if len(values) == 2 and math.isclose(*values, rel_tol=ours.get("samples", 1) * 2**-24):
            return (
                "the evaluation's mean: equal but for the last digits; Trainer repeats each batch's loss once per "
                "review and takes numpy's mean of them in float32, and every other way to add them up rounds otherwise"
            )
    by_name = {
        "eval_forward_mode": "the evaluation's mode: call model.eval() before and model.train() after",
        "eval_forward_logits": "the weights at the evaluation: the last step moved them otherwise. "
        + _weights_moved_differently(evidence),
        "eval_forward_loss": "the evaluation's forward pass: equal logits, another loss",
        "eval_forward_accuracy": "the evaluation's labels: equal logits, another accuracy",
        "eval_loss": "the evaluation's mean: the batches' losses are equal, the reported mean is not; weigh every "
        "review alike and average with numpy",
        "eval_accuracy": "the evaluation's metric: the predictions are equal, the reported accuracy is not",
    }
    return by_name[evidence.quantity]


def _evaluation_batches(ours: dict[str, Any], theirs: dict[str, Any]) -> str:
    if ours.get("samples") != theirs.get("samples"):
        return (
            f"the evaluation's batches: {ours.get('samples')} reviews by hand, {theirs.get('samples')} in Trainer; "
            "leave no smaller last batch out (drop_last)"
        )
    if ours.get("reviews") != theirs.get("reviews"):
        return "the evaluation's batches: other reviews; check which slice is evaluated, and how it is cut"
    if ours.get("batch_sizes") != theirs.get("batch_sizes"):
        sizes = ours["batch_sizes"][:1], theirs["batch_sizes"][:1]
        return f"the evaluation's batches: {sizes[0][0]} reviews at a time by hand, {sizes[1][0]} in Trainer"
    if differing_inputs(ours.get("batch"), theirs.get("batch")) == {"labels"}:
        return "the evaluation's labels: the same reviews with other labels"
    if ours.get("padded_tokens") != theirs.get("padded_tokens"):
        return "the evaluation's batches: the same reviews in another order or with another padding"
    return "the evaluation's batches: the same reviews in another order, or with another mask"


def _number_of_steps(evidence: Evidence) -> str:
    return (
        f"the length: {len(evidence.manual.steps)} steps by hand, {len(evidence.trainer.steps)} in Trainer; "
        "check when the loop stops"
    )


def _logged(evidence: Evidence) -> str:
    if not any("loss" in line for line in evidence.manual.log_history):
        return "the log: the loop returned no line with a training loss; every step itself is equal"
    if evidence.quantity == "logged grad_norm":
        return "the log: every step is equal, the gradient norm that is logged is not; log the norm before the clip"
    return "the log: every step is equal, what the loops report of them is not; check how the mean loss is taken"


def _final_weights(evidence: Evidence) -> str:
    return (
        "the last step or the saving: every step is equal, the saved weights are not. "
        + _weights_moved_differently(evidence)
    )


# Quantity, or how its name starts -> the rule that explains it. First match wins.
RULES: tuple[tuple[str, Callable[[Evidence], str]], ...] = (
    ("config", _config),
    ("number of processes", _number_of_processes),
    ("initial weights", _initial_weights),
    ("batch", _batch),
    ("mode", _mode),
    ("rng", _rng),
    ("forward_losses", _forward_loss),
    ("losses", _backward_loss),
    ("grad_norm", _grad_norm),
    ("learning_rate", _learning_rate),
    ("number of steps", _number_of_steps),
    ("evaluation", _when_to_evaluate),
    ("eval_", _evaluation),
    ("logged", _logged),
    ("number of log lines", _logged),
    ("weights", _final_weights),
)
