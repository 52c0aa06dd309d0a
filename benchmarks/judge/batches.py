"""Why a batch differs: how many passes make a step, what the model gets, which reviews in which order."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import Any

from benchmarks.judge.evidence import Evidence, epoch_start
from benchmarks.judge.finding import NOT_DECIDED, Finding, counted, differing_inputs, line_of
from shared.recording.record import RunRecord


def batch_cause(evidence: Evidence) -> Finding:
    ours, theirs = evidence.lines
    mine, other = ours["batch"], theirs["batch"]
    if finding := evidence.first_of("step"):
        return finding
    if len(mine) != len(other):
        return _number_of_batches(evidence)
    if finding := other_inputs(evidence):
        return finding
    if ours["samples"] != theirs["samples"]:
        sizes = [(line.get("passes") or [{}])[0].get("batch_size") for line in (epoch_start(evidence))]
        of_whom = f" (batch size {sizes[0]} in $loop, {sizes[1]} in $Trainer)" if sizes[0] != sizes[1] else ""
        return evidence.finding(
            "batch.size",
            f"the loader: {ours['samples']} examples against {theirs['samples']}{of_whom}; check the batch size and "
            "what happens to a smaller last batch",
            {"manual": ours["samples"], "trainer": theirs["samples"]},
        )
    differing = [number for number, pair in enumerate(zip(mine, other, strict=True)) if differing_inputs(*pair)]
    # Records of older versions, or made-up ones, do not tell more.
    if not differing or not isinstance(mine[differing[0]], dict):
        return evidence.finding("batch.not_decided", f"{NOT_DECIDED}: the batches differ")
    first = differing[0]
    inputs = set().union(*(differing_inputs(mine[number], other[number]) for number in differing))
    if inputs == {"labels"}:
        labels = ours["labels"][first][:8], theirs["labels"][first][:8]
        flipped = all(a == 1 - b for a, b in zip(ours["labels"][first], theirs["labels"][first], strict=True))
        how = "every 0 is a 1 and every 1 a 0" if flipped else f"{labels[0]} in $loop, {labels[1]} in $Trainer"
        return evidence.finding("batch.labels", f"the labels: the same examples with different labels; {how}")
    if inputs == {"attention_mask"}:
        if not ours["masked"][first]:
            return evidence.finding(
                "forward.no_mask",
                "the attention mask: the model gets none, so it treats padding as words; pass attention_mask too",
            )
        return evidence.finding("forward.mask", "the attention mask: the same tokens with another mask")
    if "input_ids" not in inputs:
        names = " and ".join(sorted(inputs))
        return evidence.finding("batch.not_decided", f"{NOT_DECIDED}: the batches differ in {names} alone")
    return _reviews(evidence, first)


def other_inputs(evidence: Evidence) -> Finding | None:
    """Whether the model got no token ids."""
    ours, theirs = ([batch for batch in line["batch"] if isinstance(batch, dict)] for line in evidence.lines)
    if not any("input_ids" in b and "input_ids" not in a for a, b in zip(ours, theirs, strict=False)):
        return None
    return evidence.finding(
        "forward.inputs",
        "the forward pass: in $loop the model gets no input_ids, but something computed from them, such as "
        "embeddings (inputs_embeds); $Trainer passes it the batch as it is",
    )


def _number_of_batches(evidence: Evidence) -> Finding:
    """One step made of another number of passes than `Trainer`'s."""
    ours, theirs = evidence.lines
    mine, other = len(ours["batch"]), len(theirs["batch"])
    if not mine:
        return evidence.finding(
            "forward.part",
            "the forward pass: your loop never calls the model that it was given as a whole, but parts of it, such as "
            "its body; so its inputs and outputs were not seen. Call the model",
        )
    reviews = ours.get("reviews") or [[]]
    idle = sum(not count for count in ours.get("backward_passes", []))
    if mine > other and all(batch == reviews[0] for batch in reviews):
        how = f"before {counted(mine - idle, 'backward pass')}" if idle else "each time with a backward pass"
        return evidence.finding(
            "forward.repeated",
            f"the forward pass: in step {evidence.step} your loop calls the model {mine} times on the same "
            f"{len(reviews[0])} examples, {how}; $Trainer calls it {counted(other, 'time')}",
            {"manual": mine, "trainer": other, "backward_passes": mine - idle},
        )
    text = f"accumulation: one step took {mine} batches in $loop and {other} in $Trainer; "
    if idle and idle != mine:
        text += f"{idle} of them had no backward pass"
    else:
        text += "check gradient_accumulation_steps and the epoch's short last group"
    return evidence.finding("batch.count", text, {"manual": mine, "trainer": other, "without_backward": idle})


def _reviews(evidence: Evidence, first: int) -> Finding:
    """Batches of one size whose tokens differ, from batch `first` of the step on."""
    ours, theirs = evidence.lines
    reviews, their_reviews = ours["reviews"], theirs["reviews"]
    if reviews == their_reviews and ours["padded_tokens"] != theirs["padded_tokens"]:
        return evidence.finding(
            "collator.length",
            "the collator: the same tokens were padded to another length; pad each batch to its longest example",
            {"manual": ours["padded_tokens"], "trainer": theirs["padded_tokens"]},
        )
    if reviews == their_reviews:
        return evidence.finding(
            "collator.padding",
            "the collator: the same examples, padded in another way (on which side, or with which token?)",
        )
    if cut := _cut(evidence):
        return cut
    if sorted(chain(*reviews)) == sorted(chain(*their_reviews)):
        return evidence.finding("batch.order", "the order within the batch: the same examples, in another order")
    if _changes_between_epochs(evidence.trainer):
        text = f"{NOT_DECIDED}: the batches hold other tokens, but so do $Trainer's own examples in each of its epochs"
        return evidence.finding("batch.not_decided", f"{text}: words are masked or drawn at random")
    return _beginnings(evidence, first) or _tokens(evidence, first) or _order(evidence)


def _changes_between_epochs(record: RunRecord) -> bool:
    """Whether few of the examples of a run's first epoch come with the same tokens in its second one."""
    per_epoch = record.steps_per_epoch
    parts = (record.steps[:per_epoch], record.steps[per_epoch : 2 * per_epoch])
    first, second = (Counter(_drawn(part)) for part in parts)
    return second.total() == first.total() > 2 * (first & second).total()


def _beginnings(evidence: Evidence, first: int) -> Finding | None:
    """Whether the same examples are shorter: the same labels, none longer, and the first has the same beginning."""
    ours, theirs = evidence.lines
    lengths = [line["lengths"][first] for line in (ours, theirs)]
    tokens = [(line.get("first_review") or [[]])[first] for line in (ours, theirs)]
    shared = min(map(len, tokens)) - 1  # the last token may be the end token of a cut example
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
        f"the tokens: examples with the same labels, the first with the same beginning, of {min(lengths[0])} to "
        f"{max(lengths[0])} tokens in $loop and {min(lengths[1])} to {max(lengths[1])} in $Trainer; they are cut",
        {"manual": lengths[0], "trainer": lengths[1]},
    )


def _tokens(evidence: Evidence, first: int) -> Finding | None:
    """Whether the same examples have other tokens in some places."""
    ours, theirs = evidence.lines
    alike = all(ours.get(name) == theirs.get(name) for name in ("lengths", "labels", "masked"))
    pair = [(line.get("first_review") or [[]])[first] for line in (ours, theirs)]
    other = [place for place, (a, b) in enumerate(zip(*pair, strict=False)) if a != b]
    foreign = set(_drawn(evidence.manual.steps)) - set(_drawn(evidence.trainer.steps))
    same = len(pair[0]) - len(other)
    if not alike or not foreign or not pair[0] or same <= len(other):
        return None
    return evidence.finding(
        "batch.tokens",
        f"the tokens: examples of the same lengths and labels, some of whose token ids differ ({len(foreign)} "
        "of the examples drawn in $loop are not in $Trainer's training set as they are); of the first "
        f"{len(pair[0])} tokens of one of them, {len(other)} differ; leave input_ids as the data has them",
        {"reviews": len(foreign)},
    )


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
    if not all(a == b or (n == min(longest) and m > n) for a, b, n, m in zip(*reviews, *lengths, strict=True)):
        return None
    return evidence.finding(
        "batch.cut",
        f"max_length: the same examples, cut to {longest[0]} tokens in $loop and to {longest[1]} in $Trainer; "
        f"tokenize with truncation=True, max_length={evidence.trainer.config.max_length}",
        {"manual": longest[0], "trainer": longest[1]},
    )


def _drawn(steps: list[dict[str, Any]]) -> list[str]:
    """The reviews that these steps have trained on."""
    return [digest for line in steps for batch in line["reviews"] for digest in batch]


def _order(evidence: Evidence) -> Finding:
    """Other reviews in a batch: another subset, or another order of the same one."""
    drawn = [set(_drawn(record.steps)) for record in (evidence.manual, evidence.trainer)]
    if foreign := len(drawn[0] - drawn[1]):
        if cut := _cut_to_shortest(evidence, foreign):
            return cut
        text = f"the data: {foreign} of the {len(drawn[0])} examples drawn in $loop are not in $Trainer's training set"
        if "job" not in evidence.trainer.header:
            text += "; take shuffle(seed=slice_seed).select(range(train_size)), and no review of the evaluation"
        return evidence.finding("batch.slice", text, {"foreign": foreign})
    if finding := _what_is_drawn(evidence, drawn):
        return finding
    if evidence.step > 1 and not evidence.starts_epoch:
        return evidence.finding(
            "shuffle.middle", "the sampler or the loader: the batches diverge in the middle of an epoch"
        )
    return _sampler(evidence)


def _cut_to_shortest(evidence: Evidence, foreign: int) -> Finding | None:
    """Whether all reviews of every batch have one length, as `zip` leaves them, and Trainer's do not."""
    alike = [
        all(len(set(batch)) == 1 for line in record.steps for batch in line["lengths"])
        for record in (evidence.manual, evidence.trainer)
    ]
    if alike != [True, False]:
        return None
    return evidence.finding(
        "batch.cut",
        f"the tokens: in $loop all examples of a batch have the same length, in every batch, and {foreign} of those "
        "drawn are not in $Trainer's training set as they are; each batch is cut to its shortest example, as zip "
        "does",
        {"reviews": foreign},
    )


def _what_is_drawn(evidence: Evidence, drawn: list[set[str]]) -> Finding | None:
    """Whether a batch comes twice, and whether the first epoch leaves reviews out or draws some twice."""
    ours, _ = evidence.lines
    if evidence.step > 1 and ours["reviews"] == line_of(evidence.manual, evidence.step - 1)["reviews"]:
        return evidence.finding(
            "batch.again",
            f"the batches: step {evidence.step} trains on the batch of step {evidence.step - 1} again; $Trainer takes "
            "each batch once in an epoch",
        )
    if evidence.step > 1 and not evidence.starts_epoch:
        return None
    if not (never := len(drawn[1] - drawn[0])):
        return None
    first_epoch = _drawn(evidence.manual.steps[: evidence.trainer.steps_per_epoch])
    if len(set(first_epoch)) < len(first_epoch) and len(first_epoch) >= len(drawn[1]):
        return evidence.finding(
            "shuffle.replacement",
            f"the sampler: it draws some examples several times in an epoch and others not at all: {len(first_epoch)} "
            f"draws in $loop are {len(set(first_epoch))} different examples, and {never} of $Trainer's "
            f"{len(drawn[1])} are in no step; draw without replacement",
            {"draws": len(first_epoch), "different": len(set(first_epoch))},
        )
    return evidence.finding(
        "shuffle.subset",
        f"the examples: in $loop {len(drawn[0])} of the {len(drawn[1])} examples of the training set are drawn, "
        f"{never} of them in no step; $Trainer draws all in every epoch",
        {"manual": len(drawn[0]), "trainer": len(drawn[1])},
    )


def _sampler(evidence: Evidence) -> Finding:
    """The same reviews in another order, from the first batch of an epoch on."""
    where = (
        "the sampler: other examples from the first batch on"
        if evidence.step == 1
        else "the sampler: the order differs from this epoch on"
    )
    config, epoch = evidence.trainer.config, evidence.trainer.epoch_of(evidence.step) - 1
    seed = config.seed if config.data_seed is None else config.data_seed
    passes = epoch_start(evidence)[0].get("passes", [])
    loader = passes[0] if passes else {}
    whose = f"with seed + epoch ({seed + epoch} here)"
    rule = f"seed the sampler's own generator {whose}"
    if config.train_sampling_strategy != "random" or not loader:
        return evidence.finding("shuffle.order", f"{where}; {rule}")
    if loader["sampler"] == "SequentialSampler":
        return evidence.finding(
            "shuffle.none",
            f"{where}: in $loop they come in the dataset's order, not shuffled; use a RandomSampler, and {rule}",
        )
    if loader["draws_first"]:
        return evidence.finding(
            "shuffle.shared_generator",
            f"{where}: the loader was given the sampler's generator, too, and draws from it first; give it to the "
            "sampler alone, DataLoader(sampler=RandomSampler(dataset, generator=generator))",
        )
    if loader["sampler"] != "RandomSampler":
        return evidence.finding(
            "shuffle.order",
            f"{where}: in $loop the order comes from a {loader['sampler']}; $Trainer takes a RandomSampler, whose own "
            f"generator is seeded {whose}",
        )
    if loader["sampler_seed"] is None:
        return evidence.finding(
            "shuffle.global_state", f"{where}: it draws from torch's global random state, as shuffle=True does; {rule}"
        )
    if loader["sampler_seed"] != seed + epoch:
        return evidence.finding(
            "shuffle.seed",
            f"{where}: its generator was seeded with {loader['sampler_seed']}; seed it in every epoch, {whose}",
            {"manual": loader["sampler_seed"], "trainer": seed + epoch},
        )
    return evidence.finding(
        "shuffle.draws",
        f"{where}: its generator was seeded with {seed + epoch}, as it must be, but it is drawn from in another way",
    )
