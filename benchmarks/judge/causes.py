"""What causes a divergence, decided from the evidence in the two records, and from nothing else.

`benchmarks.judge.ways` holds the two loops' ways of working against each other. Here a rule per quantity says which of
them explains what differs first, or decides from that quantity's own values. Competing explanations are tested: a
scale must be the same factor in every pass, a rounding must lie within its bound. Where the evidence does not decide,
that is said, with what was observed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import chain
from typing import Any, NamedTuple

from benchmarks.judge.finding import NOT_DECIDED, Finding, counted, follows_evaluation, line_of, missing_of
from benchmarks.judge.reported import reported_evaluation
from benchmarks.judge.ways import ROUNDING, differing_inputs, evaluated_batches, findings
from shared.recording.record import RunRecord

# Two float32 losses whose quotient is one number have it up to the rounding of both.
SAME_FACTOR = 2**-21


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

    @property
    def lines(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Both records' lines of the diverging step."""
        return line_of(self.manual, self.step), line_of(self.trainer, self.step)

    @property
    def evaluations(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Both records' lines of the evaluation after that step."""
        ours, theirs = (
            next((line for line in record.evaluations if line["step"] == self.step), {})
            for record in (self.manual, self.trainer)
        )
        return ours, theirs

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

    def found(self, *topics: str) -> Finding | None:
        """What was found of one of these topics up to this step; the earliest topic's, None if nothing was."""
        known = [each for each in findings(self.manual, self.trainer) if each.step <= max(self.step, 1)]
        return next((each for topic in topics for each in known if each.topic == topic), None)

    def finding(self, code: str, text: str, **values: Any) -> Finding:
        """One at the step of the divergence."""
        return Finding(code, self.step, text, values)


def explain(step: int, quantity: str, manual: RunRecord, trainer: RunRecord) -> list[Finding]:
    """What the evidence says about why the runs part here: first the cause, then what else was found.

    Args:
        step: the step of the first divergence, from 1; 0 is before the first.
        quantity: what differs first, as `benchmarks.verdict.verdict` names it.
        manual, trainer: the two records.
    """
    evidence = Evidence(step, quantity, manual, trainer)
    cause = _not_reproducible(evidence)
    if cause is None:
        rule = next(rule for prefix, rule in RULES if quantity.startswith(prefix))
        cause = rule(evidence)
    return [cause, *_others(cause, evidence)]


def likely_cause(step: int, quantity: str, manual: RunRecord, trainer: RunRecord) -> str:
    """The cause alone, as a sentence or two; the arguments are those of `explain`."""
    return explain(step, quantity, manual, trainer)[0].text


# After these nothing else can be said: the runs were not of one job, or not of one model.
STANDS_ALONE = (
    *("environment.not_reproducible", "environment.config", "environment.processes"),
    *("loss.upstream", "model.other", "model.copy"),
)


# These say themselves how many steps there are, or make another number of them.
TELL_THE_STEPS = ("batch.size", "batch.count", "step.number", "step.none")


def _others(cause: Finding, evidence: Evidence) -> list[Finding]:
    """What else the loop by hand does otherwise, besides the cause of the first divergence."""
    manual, trainer = evidence.manual, evidence.trainer
    if cause.code in STANDS_ALONE or not manual.steps:
        return []
    # Batches of another size make another number of steps, and so another schedule.
    follows = ("schedule",) if cause.code in ("batch.size", "batch.count") else ()
    found = [each for each in findings(manual, trainer) if each.text not in cause.text and each.topic not in follows]
    if len(manual.steps) != len(trainer.steps) and cause.code not in TELL_THE_STEPS:
        found.append(_number_of_steps(evidence))
    return found


# What explains the quantity that differs first ----------------------------------------------------

# What rounding can move without anything being wrong.
SUMS = ("forward_losses", "losses", "grad_norm", "eval_forward_logits", "eval_forward_loss", "eval_loss", "weights")


def _not_reproducible(evidence: Evidence) -> Finding | None:
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
    return evidence.finding(
        "environment.not_reproducible",
        f"no mistake, perhaps: {what} adds up in an order that varies from run to run, so the same loop run twice "
        "differs in the last digits too; compare with --full-determinism, which must be identical",
    )


def _config(evidence: Evidence) -> Finding:
    return evidence.finding("environment.config", "the two runs were given different dials")


def _number_of_processes(evidence: Evidence) -> Finding:
    return evidence.finding("environment.processes", "the two runs had different numbers of processes")


def _initial_weights(evidence: Evidence) -> Finding:
    if found := evidence.found("dtype"):
        return found
    kinds = [record.start.get("model") for record in (evidence.manual, evidence.trainer)]
    if kinds[0] != kinds[1]:
        return evidence.finding(
            "model.other",
            f"the model: what is called first is a {kinds[0]} by hand and a {kinds[1]} in Trainer; call the model "
            "that was loaded, not a part of it or another one",
            manual=kinds[0],
            trainer=kinds[1],
        )
    name = evidence.quantity.removeprefix("initial weights: ")
    if "classifier" in name:
        return evidence.finding(
            "model.head",
            f"the head: {name} is the first tensor that differs and the body is equal, so the new head was drawn "
            "from another random state, or drawn again; seed right before the model is built, and leave it as it is",
            tensor=name,
        )
    return evidence.finding(
        "model.body",
        f"the body: {name} is the first tensor that differs before any step; other pretrained weights were loaded",
        tensor=name,
    )


def _batch(evidence: Evidence) -> Finding:
    ours, theirs = evidence.lines
    mine, other = ours["batch"], theirs["batch"]
    if found := evidence.found("step"):
        return found
    if len(mine) != len(other):
        return _number_of_batches(evidence)
    if found := _other_inputs(evidence):
        return found
    if ours["samples"] != theirs["samples"]:
        sizes = [(line.get("passes") or [{}])[0].get("batch_size") for line in (_epoch_start(evidence))]
        of_whom = f" (batch size {sizes[0]} by hand, {sizes[1]} in Trainer)" if sizes[0] != sizes[1] else ""
        return evidence.finding(
            "batch.size",
            f"the loader: {ours['samples']} reviews against {theirs['samples']}{of_whom}; check the batch size and "
            "what happens to a smaller last batch",
            manual=ours["samples"],
            trainer=theirs["samples"],
        )
    differing = [number for number, pair in enumerate(zip(mine, other, strict=True)) if differing_inputs(*pair)]
    # Records of an older make, or made up, say no more.
    if not differing or not isinstance(mine[differing[0]], dict):
        return evidence.finding("batch.not_decided", f"{NOT_DECIDED}: the batches differ")
    first = differing[0]
    inputs = set().union(*(differing_inputs(mine[number], other[number]) for number in differing))
    if inputs == {"labels"}:
        shown = ours["labels"][first][:8], theirs["labels"][first][:8]
        flipped = all(a == 1 - b for a, b in zip(ours["labels"][first], theirs["labels"][first], strict=True))
        how = "every 0 is a 1 and every 1 a 0" if flipped else f"{shown[0]} by hand, {shown[1]} in Trainer"
        return evidence.finding("batch.labels", f"the labels: the same reviews with other labels; {how}")
    if inputs == {"attention_mask"}:
        if not ours["masked"][first]:
            return evidence.finding(
                "forward.no_mask",
                "the attention mask: the model is given none, so it takes padding for words; pass attention_mask "
                "along",
            )
        return evidence.finding("forward.mask", "the attention mask: the same tokens with another mask")
    return _reviews(evidence, first)


def _other_inputs(evidence: Evidence) -> Finding | None:
    """Whether the model was given no token ids."""
    ours, theirs = ([each for each in line["batch"] if isinstance(each, dict)] for line in evidence.lines)
    if not any("input_ids" in b and "input_ids" not in a for a, b in zip(ours, theirs, strict=False)):
        return None
    return evidence.finding(
        "forward.inputs",
        "the forward pass: the model is given no input_ids by hand, but something made of them, such as "
        "embeddings (inputs_embeds); Trainer gives it the batch as it is",
    )


def _number_of_batches(evidence: Evidence) -> Finding:
    """One step made of another number of passes than `Trainer`'s."""
    ours, theirs = evidence.lines
    mine, other = len(ours["batch"]), len(theirs["batch"])
    if not mine:
        return evidence.finding(
            "forward.part",
            "the forward pass: your loop never calls the model that it was given as a whole, but parts of it, such as "
            "its body; so what went in and came out was not seen. Call the model",
        )
    reviews = ours.get("reviews") or [[]]
    idle = sum(not count for count in ours.get("backward_passes", []))
    if mine > other and all(batch == reviews[0] for batch in reviews):
        how = f"before {counted(mine - idle, 'backward pass')}" if idle else "each time with a backward pass"
        return evidence.finding(
            "forward.repeated",
            f"the forward pass: in step {evidence.step} your loop calls the model {mine} times on the same "
            f"{len(reviews[0])} reviews, {how}; Trainer calls it {counted(other, 'time')}",
            manual=mine,
            trainer=other,
            backward_passes=mine - idle,
        )
    text = f"accumulation: one step took {mine} batches by hand and {other} in Trainer; "
    if idle and idle != mine:
        text += f"{idle} of them had no backward pass"
    else:
        text += "check gradient_accumulation_steps and the epoch's short last group"
    return evidence.finding("batch.count", text, manual=mine, trainer=other, without_backward=idle)


def _reviews(evidence: Evidence, first: int) -> Finding:
    """Batches of one size whose tokens differ, from batch `first` of the step on."""
    ours, theirs = evidence.lines
    reviews, their_reviews = ours["reviews"], theirs["reviews"]
    if reviews == their_reviews and ours["padded_tokens"] != theirs["padded_tokens"]:
        return evidence.finding(
            "collator.length",
            "the collator: the same tokens were padded to another length; pad each batch to its longest review",
            manual=ours["padded_tokens"],
            trainer=theirs["padded_tokens"],
        )
    if reviews == their_reviews:
        return evidence.finding(
            "collator.padding",
            "the collator: the same reviews, padded otherwise (on which side, or with which token?)",
        )
    if cut := _cut(evidence):
        return cut
    if sorted(chain(*reviews)) == sorted(chain(*their_reviews)):
        return evidence.finding("batch.order", "the order within the batch: the same reviews, arranged otherwise")
    return _beginnings(evidence, first) or _tokens(evidence, first) or _order(evidence)


def _beginnings(evidence: Evidence, first: int) -> Finding | None:
    """Whether the same examples came shorter: the same labels, none longer, and the first begins alike."""
    ours, theirs = evidence.lines
    lengths = [line["lengths"][first] for line in (ours, theirs)]
    tokens = [(line.get("first_review") or [[]])[first] for line in (ours, theirs)]
    shared = min(map(len, tokens)) - 1  # the last one may be the end token of what was cut
    if (
        ours.get("labels") != theirs.get("labels")
        or any(mine > other for mine, other in zip(*lengths, strict=False))
        or lengths[0] == lengths[1]
        or shared < 1
        or tokens[0][:shared] != tokens[1][:shared]
    ):
        return None
    return evidence.finding(
        "batch.cut",
        f"the tokens: reviews with the same labels, the first with the same beginning, of {min(lengths[0])} to "
        f"{max(lengths[0])} tokens by hand and {min(lengths[1])} to {max(lengths[1])} in Trainer; they are cut",
        manual=lengths[0],
        trainer=lengths[1],
    )


def _tokens(evidence: Evidence, first: int) -> Finding | None:
    """Whether the same examples came with other tokens in some places."""
    ours, theirs = evidence.lines
    alike = all(ours.get(name) == theirs.get(name) for name in ("lengths", "labels", "masked"))
    pair = [(line.get("first_review") or [[]])[first] for line in (ours, theirs)]
    other = [place for place, (a, b) in enumerate(zip(*pair, strict=False)) if a != b]
    foreign = _drawn(evidence.manual) - _drawn(evidence.trainer)
    same = len(pair[0]) - len(other)
    if not alike or not foreign or not pair[0] or same <= len(other):
        return None
    return evidence.finding(
        "batch.tokens",
        f"the tokens: reviews of the same lengths and labels, some of whose token ids are other ones ({len(foreign)} "
        f"of the reviews drawn by hand are not in Trainer's training slice as they are); of the first {len(pair[0])} "
        f"tokens of one of them, {len(other)} differ; leave input_ids as the data has them",
        reviews=len(foreign),
    )


def _epoch_start(evidence: Evidence) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both loops' first step of this epoch, where the pass over the loader began."""
    start = (evidence.step - 1) // evidence.trainer.steps_per_epoch * evidence.trainer.steps_per_epoch + 1
    return line_of(evidence.manual, start), line_of(evidence.trainer, start)


def _cut(evidence: Evidence) -> Finding | None:
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
    return evidence.finding(
        "batch.cut",
        f"max_length: the same reviews, cut to {longest[0]} tokens by hand and to {longest[1]} in Trainer; tokenize "
        f"with truncation=True, max_length={evidence.trainer.config.max_length}",
        manual=longest[0],
        trainer=longest[1],
    )


def _drawn(record: RunRecord) -> set[str]:
    """All reviews that the run has trained on."""
    return {digest for line in record.steps for batch in line["reviews"] for digest in batch}


def _order(evidence: Evidence) -> Finding:
    """Other reviews in a batch: another slice, or another order of the same one."""
    drawn = [_drawn(record) for record in (evidence.manual, evidence.trainer)]
    if foreign := len(drawn[0] - drawn[1]):
        return evidence.finding(
            "batch.slice",
            f"the slice: {foreign} of the {len(drawn[0])} reviews drawn by hand are not in Trainer's training slice; "
            "take shuffle(seed=slice_seed).select(range(train_size)), and no review of the evaluation",
            foreign=foreign,
        )
    if found := _what_is_drawn(evidence, drawn):
        return found
    if evidence.step > 1 and not evidence.starts_epoch:
        return evidence.finding(
            "shuffle.middle", "the sampler or the loader: the batches part in the middle of an epoch"
        )
    return _sampler(evidence)


def _what_is_drawn(evidence: Evidence, drawn: list[set[str]]) -> Finding | None:
    """Whether a batch comes twice, and whether the first epoch leaves reviews out or draws some twice."""
    ours, _ = evidence.lines
    if evidence.step > 1 and ours["reviews"] == line_of(evidence.manual, evidence.step - 1)["reviews"]:
        return evidence.finding(
            "batch.again",
            f"the batches: step {evidence.step} trains on the batch of step {evidence.step - 1} again; Trainer takes "
            "each batch once in an epoch",
        )
    if evidence.step > 1 and not evidence.starts_epoch:
        return None
    if not (never := len(drawn[1] - drawn[0])):
        return None
    first_epoch = [
        digest
        for line in evidence.manual.steps[: evidence.trainer.steps_per_epoch]
        for batch in line["reviews"]
        for digest in batch
    ]
    if len(set(first_epoch)) < len(first_epoch) and len(first_epoch) >= len(drawn[1]):
        return evidence.finding(
            "shuffle.replacement",
            f"the sampler: it draws some reviews several times in an epoch and others not at all: {len(first_epoch)} "
            f"draws by hand are {len(set(first_epoch))} different reviews, and {never} of Trainer's {len(drawn[1])} "
            "come in no step; draw without replacement",
            draws=len(first_epoch),
            different=len(set(first_epoch)),
        )
    return evidence.finding(
        "shuffle.subset",
        f"the reviews: by hand {len(drawn[0])} of the {len(drawn[1])} reviews of the training slice are drawn, "
        f"{never} of them in no step; Trainer draws all in every epoch",
        manual=len(drawn[0]),
        trainer=len(drawn[1]),
    )


def _sampler(evidence: Evidence) -> Finding:
    """The same reviews in another order, from the first batch of an epoch on."""
    where = (
        "the sampler: other reviews from the first batch on"
        if evidence.step == 1
        else "the sampler: the order differs from this epoch on"
    )
    config, epoch = evidence.trainer.config, evidence.trainer.epoch_of(evidence.step) - 1
    seed = config.seed if config.data_seed is None else config.data_seed
    passes = _epoch_start(evidence)[0].get("passes", [])
    found = passes[0] if passes else {}
    whose = f"with seed + epoch ({seed + epoch} here)"
    rule = f"seed the sampler's own generator {whose}"
    if config.train_sampling_strategy != "random" or not found:
        return evidence.finding("shuffle.order", f"{where}; {rule}")
    if found["sampler"] == "SequentialSampler":
        return evidence.finding(
            "shuffle.none", f"{where}: by hand they come as they lie, not shuffled; use a RandomSampler, and {rule}"
        )
    if found["draws_first"]:
        return evidence.finding(
            "shuffle.shared_generator",
            f"{where}: the loader was given the sampler's generator, too, and draws from it first; give it to the "
            "sampler alone, DataLoader(sampler=RandomSampler(dataset, generator=generator))",
        )
    if found["sampler"] != "RandomSampler":
        return evidence.finding(
            "shuffle.order",
            f"{where}: by hand the order comes from a {found['sampler']}; Trainer takes a RandomSampler, whose own "
            f"generator is seeded {whose}",
        )
    if found["sampler_seed"] is None:
        return evidence.finding(
            "shuffle.global_state", f"{where}: it draws from torch's global random state, as shuffle=True does; {rule}"
        )
    if found["sampler_seed"] != seed + epoch:
        return evidence.finding(
            "shuffle.seed",
            f"{where}: its generator was seeded with {found['sampler_seed']}; seed it in every epoch, {whose}",
            manual=found["sampler_seed"],
            trainer=seed + epoch,
        )
    return evidence.finding(
        "shuffle.draws",
        f"{where}: its generator was seeded with {seed + epoch}, as it must, but drawn from otherwise",
    )


def _mode(evidence: Evidence) -> Finding:
    return evidence.found("mode") or evidence.finding("mode.not_decided", NOT_DECIDED)


def _rng(evidence: Evidence) -> Finding:
    if found := evidence.found("mode", "dropout"):
        return found
    if found := _seeded_again(evidence) or _further_evaluation(evidence):
        return found
    passes = [[each["own_generator"] for each in line.get("passes", [])] for line in _epoch_start(evidence)]
    if any(passes[0]) and not any(passes[1]):
        return evidence.finding(
            "seed.loader",
            "the loader's generator: it was given one, so a pass over it no longer draws its number from torch's "
            "global random state; give the generator to the sampler alone",
        )
    ours, theirs = (line.get("rng") for line in evidence.lines)
    names = [name for name in ours if ours[name] != theirs.get(name)] if isinstance(ours, dict) else ["torch"]
    whose = "" if names == ["torch"] else f" ({' and '.join(names)})"
    before = [(line.get("rng_before") or [None])[0] for line in evidence.lines]
    if before[0] and before[0] == before[1]:
        return evidence.finding(
            "seed.within",
            f"the random state{whose}: both loops begin step {evidence.step} with the same one, and within the step "
            "your loop draws other numbers: in the forward pass (another dropout), or between it and the optimizer's "
            "step (noise)",
        )
    if evidence.step == 1:
        return evidence.finding(
            "seed.state",
            f"the random state{whose}: batch and mode are equal, but the state is not; seed again right before "
            "training, and let nothing draw in between (every iter(DataLoader) draws once)",
        )
    if evidence.after_evaluation or evidence.starts_epoch:
        return evidence.finding(
            "seed.stray",
            f"a stray draw{whose}: one loop drew a random number more around the evaluation or the start of this "
            "epoch (every iter(DataLoader) draws once, also for the evaluation)",
        )
    return evidence.finding(
        "seed.stray",
        f"a stray draw: one loop drew a random number{whose} that the other did not since the step before",
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
        f"the evaluation's moment: your loop evaluates {when} ({line['samples']} reviews in "
        f"{counted(len(line.get('batch_sizes', [])), 'batch')}), Trainer does not; every pass over a loader draws a "
        "random number, and so dropout draws others after it",
        reviews=line["samples"],
    )


def _seeded_again(evidence: Evidence) -> Finding | None:
    """Whether torch's random state is one in which an earlier step began, by hand and not in Trainer."""

    def earlier(record: RunRecord) -> int | None:
        states = line_of(record, evidence.step).get("rng_before") or [None]
        before = record.steps[: evidence.step - 1]
        return next((line["step"] for line in before if states[0] in line.get("rng_before", [])), None)

    step = earlier(evidence.manual)
    if step is None or earlier(evidence.trainer) is not None:
        return None
    return evidence.finding(
        "seed.again",
        f"the seed: step {evidence.step} begins with the random state of step {step} again, so dropout draws the same "
        "numbers once more; a seed is set again in between. Seed once, before training",
        step=step,
    )


def _forward_loss(evidence: Evidence) -> Finding:
    if evidence.step == 1 or not evidence.weights_differ:
        return (
            evidence.found("autocast", "dtype")
            or _other_inputs(evidence)
            or evidence.finding(
                "forward.loss",
                "the forward pass: weights, batch and random state are equal, the loss is not; check dropout, "
                "autocast, and how the loss is computed",
            )
        )
    return _weights_moved_differently(evidence)


def _backward_loss(evidence: Evidence) -> Finding:
    ours, theirs = evidence.lines
    mine, other = ours["losses"], theirs["losses"]
    if found := evidence.found("backward"):
        return found
    if evidence.trainer.config.trainer_defaults and mine and other and mine[0]:
        return evidence.finding(
            "loss.upstream",
            f"the upstream fault: without the remedy, Trainer's loss is {other[0] / mine[0]:.6g} times too large; it "
            "believes that DistilBERT divides its loss by the number of items and leaves its own division out "
            "(huggingface/transformers#47688)",
        )
    if evidence.step > 1 and evidence.weights_differ:
        return _weights_moved_differently(evidence)
    if found := evidence.found("autocast", "dtype"):
        return found
    return _loss(evidence)


def _loss(evidence: Evidence) -> Finding:
    """Equal weights and batches, another loss handed to `backward()`: a scale of the right one, or another one."""
    ours, theirs = evidence.lines
    mine, other = ours["losses"], theirs["losses"]
    values = {"manual": mine, "trainer": other}
    ratios = [a / b for a, b in zip(mine, other, strict=False) if b]
    same = ratios and all(math.isclose(each, ratios[0], rel_tol=SAME_FACTOR) for each in ratios)
    own = _own_ratios(evidence.manual)
    if own is None:
        # The model gave no loss: one pass alone cannot tell a scale from another criterion.
        size, batches = len((ours.get("reviews") or [[]])[0]), len(mine)
        if same and (
            (len(ratios) > 1 and math.isclose(ratios[0], batches, rel_tol=SAME_FACTOR))
            or (size > 1 and math.isclose(ratios[0], size, rel_tol=SAME_FACTOR))
        ):
            return _scale(evidence, ratios[0])
        return evidence.finding(
            "loss.criterion",
            "the criterion: the model computes no loss by hand, and the one handed to backward() is another than the "
            f"model's ({_shown(mine)} by hand, {_shown(other)} in Trainer); use the mean cross-entropy of the batch",
            **values,
        )
    if all(size > 1 and math.isclose(each, size, rel_tol=SAME_FACTOR) for each, _, size in own):
        return _scale(evidence, own[0][0])
    full = [each for each, batches, _ in own if batches == len(mine)]
    if all(math.isclose(each, full[0], rel_tol=SAME_FACTOR) for each in full):
        return _scale(evidence, ratios[0] if ratios else math.nan)
    return evidence.finding(
        "loss.criterion",
        f"the loss: the model's own loss is equal, but another one is handed to backward() ({_shown(mine)} by hand, "
        f"{_shown(other)} in Trainer). It is no multiple of the model's: from pass to pass it is "
        f"{min(full):.6g} to {max(full):.6g} times that; check what the loss is made of",
        **values,
    )


def _own_ratios(record: RunRecord) -> list[tuple[float, int, int]] | None:
    """By what each loss handed to `backward()` is larger than the model's own, the batches of its step, its reviews.

    None where that cannot be told: the model gave no loss, or one pass had none or several backward passes.
    """
    found = []
    for line in record.steps:
        pairs = list(zip(line["losses"], line["forward_losses"], strict=False))
        if len(line["losses"]) != len(line["forward_losses"]) or any(not own for _, own in pairs):
            return None
        sizes = map(len, line["reviews"])
        found += [(loss / own, len(pairs), size) for (loss, own), size in zip(pairs, sizes, strict=False)]
    return found


def _shown(losses: list[float]) -> str:
    return ", ".join(f"{loss:.6g}" for loss in losses[:4]) or "none"


def _scale(evidence: Evidence, factor: float) -> Finding:
    """The right loss, times a number."""
    ours, theirs = evidence.lines
    size, batches = len((ours.get("reviews") or [[]])[0]), len(theirs["losses"])
    why = f", the batch's {size} reviews: a sum, not a mean" if size > 1 and math.isclose(factor, size) else ""
    if not why and batches > 1 and math.isclose(factor, batches, rel_tol=SAME_FACTOR):
        why = f", the step's {batches} batches: divide each batch's loss by their number"
    # Groups of batches that are divided by the wrong number show in the short one only.
    smoothing = " and label smoothing" if evidence.trainer.config.label_smoothing_factor else ""
    return evidence.finding(
        "loss.scale",
        "the loss's scale: the model's loss is equal, the one handed to backward() is not (by hand "
        f"{factor:.6g} times Trainer's{why}); check what it is "
        f"divided by, gradient_accumulation_steps or the size of a short last group{smoothing}",
        factor=factor,
    )


def _grad_norm(evidence: Evidence) -> Finding:
    ours, theirs = evidence.lines
    if found := evidence.found("zero", "model", "backward"):
        return found
    if missing_of(evidence.manual) and (found := evidence.found("optimizer")):
        return found
    if evidence.weights_differ:
        return _weights_moved_differently(evidence)
    mine, other = ours["grad_norm"], theirs["grad_norm"]
    if ours.get("unclipped_norm") == theirs.get("unclipped_norm"):
        if found := evidence.found("clip"):
            return found
        if other and math.isclose(mine, other, rel_tol=ROUNDING) and ours.get("gradients"):
            return evidence.finding(
                "clip.rounding",
                f"the clip's arithmetic: the gradients are equal, and both clips end at norm {other:.4g}, but not in "
                "the last digits; torch.nn.utils.clip_grad_norm_ multiplies by max_norm / (norm + 1e-6)",
            )
        return evidence.finding(
            "clip.not_decided",
            f"{NOT_DECIDED}: the gradients are equal after the backward pass, at the optimizer they are not (norm "
            f"{mine:.6g} by hand, {other:.6g} in Trainer)",
        )
    if found := evidence.found("clip"):
        return found
    mine, other = ours.get("unclipped_norm"), theirs.get("unclipped_norm")
    how = f" ({mine / other:.6g} times Trainer's)" if mine and other else ""
    return evidence.finding(
        "backward.not_decided",
        f"{NOT_DECIDED}: weights, batch and loss are equal, the gradients of the backward pass are not{how}; what the "
        "loss is made of differs, or how it is differentiated",
    )


def _learning_rate(evidence: Evidence) -> Finding:
    return evidence.found("schedule") or evidence.finding("schedule.not_decided", NOT_DECIDED)


def _weights_moved_differently(evidence: Evidence) -> Finding:
    """Same batch, random state and earlier gradients, another loss: the step before moved the weights otherwise."""
    return evidence.found("weights", "step", "optimizer", "model", "dtype", "backward") or evidence.finding(
        "optimizer.other",
        "the optimizer: up to here gradients and learning rates are equal, so the step before moved the weights "
        "otherwise; check the kind of optimizer, its settings, and what else touches the weights",
    )


def _when_to_evaluate(evidence: Evidence) -> Finding:
    steps = [[line["step"] for line in record.evaluations] for record in (evidence.manual, evidence.trainer)]
    when = [", ".join(map(str, each)) or "none" for each in steps]
    return evidence.finding(
        "evaluate.moment",
        "the epoch's length or the evaluation's moment: only one loop evaluates here (after the steps "
        f"{when[0]} by hand, {when[1]} in Trainer); check whether a last batch that is not full is left out, and when "
        "to evaluate",
    )


def _evaluation(evidence: Evidence) -> Finding:
    ours, theirs = evidence.evaluations
    quantity = evidence.quantity
    if not evidence.manual.steps:
        return _no_steps(evidence)
    if quantity in ("eval_loss", "eval_accuracy"):
        return reported_evaluation(evidence.step, quantity, ours, evidence.manual, evidence.trainer)
    if quantity == "eval_forward_batch":
        return evaluated_batches(ours, theirs)
    if quantity == "eval_forward_logits":
        return _evaluated_logits(evidence)
    by_name = {
        "eval_forward_mode": (
            "evaluate.mode",
            "the evaluation's mode: call model.eval() before and model.train() after",
        ),
        "eval_forward_loss": ("evaluate.loss", "the evaluation's forward pass: equal logits, another loss"),
        "eval_forward_accuracy": ("evaluate.labels", "the evaluation's labels: equal logits, another accuracy"),
    }
    return evidence.finding(*by_name[quantity])


def _evaluated_logits(evidence: Evidence) -> Finding:
    """Equal batches, other outputs: another precision, or other weights."""
    ours, theirs = evidence.evaluations
    if ours.get("autocast", [None])[:1] != theirs.get("autocast", [None])[:1]:
        return evidence.finding(
            "evaluate.precision", "the evaluation's precision: one loop evaluates under autocast, the other does not"
        )
    after = line_of(evidence.manual, evidence.step).get("weights_after")
    if ours.get("weights") and after and ours["weights"] != after:
        following = line_of(evidence.manual, evidence.step + 1).get("weights")
        then = "; the training goes on with the weights of the last step" if following == after else ""
        return evidence.finding(
            "evaluate.weights",
            f"the evaluation's weights: after step {evidence.step} they are changed without an optimizer step, and "
            f"these are evaluated (an average of weights, weights put back){then}",
        )
    if ours.get("weights") and ours["weights"] == theirs.get("weights"):
        return evidence.finding(
            "evaluate.forward",
            "the evaluation's forward pass: weights and batches are equal, the outputs are not; check what is on in "
            "the evaluation besides the model's mode, such as a functional dropout",
        )
    if parts := [names for names in ours.get("parts", []) if names]:
        return evidence.finding(
            "evaluate.mode", f"the evaluation's mode: a part of the model, {parts[0][0]}, is in another mode"
        )
    found = _weights_moved_differently(evidence)
    return found._replace(text=f"the weights at the evaluation: the last step moved them otherwise. {found.text}")


def _no_steps(evidence: Evidence) -> Finding:
    """The run came to its end, and no optimizer of `torch.optim` has made a step."""
    weights = {line.get("weights") for line in evidence.manual.evaluations}
    moved = "other weights each time" if len(weights) > 1 else "one and the same weights"
    return evidence.finding(
        "step.none",
        f"the step: no optimizer of torch.optim made one by hand, {len(evidence.trainer.steps)} are made in Trainer, "
        f"and the evaluations by hand saw {moved}; check whether optimizer.step() is reached",
        trainer=len(evidence.trainer.steps),
    )


def _number_of_steps(evidence: Evidence) -> Finding:
    ours, theirs = len(evidence.manual.steps), len(evidence.trainer.steps)
    return Finding(
        "step.number",
        min(ours, theirs) + 1,
        f"the length: {ours} steps by hand, {theirs} in Trainer; check when the loop stops",
        {"manual": ours, "trainer": theirs},
    )


def _logged(evidence: Evidence) -> Finding:
    if not any("loss" in line for line in evidence.manual.log_history):
        text = "the log: the loop returned no line with a training loss; every step itself is equal"
    elif evidence.quantity == "logged grad_norm":
        text = "the log: every step is equal, the gradient norm that is logged is not; log the norm before the clip"
    else:
        text = "the log: every step is equal, what the loops report of them is not; check how the mean loss is taken"
    return evidence.finding("log.training", text)


def _final_weights(evidence: Evidence) -> Finding:
    if not evidence.manual.steps:
        return _no_steps(evidence)
    if after_the_end := _weights_at_the_end(evidence):
        return after_the_end
    found = _weights_moved_differently(evidence)
    if found.code == "model.copy":
        return found
    return found._replace(
        text=f"the last step or the saving: every step is equal, the saved weights are not. {found.text}"
    )


def _weights_at_the_end(evidence: Evidence) -> Finding | None:
    """Whether the weights were changed after the last step without a step."""
    record = evidence.manual
    at_the_end, steps = record.footer.get("weights"), record.steps
    if not steps or not at_the_end or at_the_end == steps[-1].get("weights_after", at_the_end):
        return None
    same = [line["step"] for line in steps if line.get("weights_after") == at_the_end]
    which = f"; they are those after step {same[-1]} again" if same else ""
    return evidence.finding(
        "weights.end",
        f"the weights at the end: after the last step, {len(steps)}, they are changed without an optimizer "
        f"step{which}; Trainer ends with the last step's weights, unless load_best_model_at_end is set",
    )


# Quantity, or how its name starts -> the rule that explains it. First match wins.
RULES: tuple[tuple[str, Callable[[Evidence], Finding]], ...] = (
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
