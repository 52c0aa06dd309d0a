"""Is the model any good? Both saved models classify the evaluation subset, and are compared with simple baselines.

A lower loss is not a better model, and 82 % of 256 reviews are not 82 %: an accuracy comes with its confidence
interval, with the classes that the model confuses, and with the accuracy of a bag of words on the same reviews.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.charts.data import NAMES, reported_evaluations
from benchmarks.lesson.answers import answer, equal_rows, load_model
from benchmarks.lesson.bag import DESCRIPTION, NAME, bag_of_words
from benchmarks.runs import read_comparison
from benchmarks.statistics import LEVEL, mcnemar, wilson
from shared.data import Subsets, prepared_subsets
from shared.determinism import use_one_device
from shared.errors import SameLoopError
from shared.progress import announce
from shared.recording.kept import Kept
from shared.recording.record import RunRecord
from shared.running.folder import LOOPS
from shared.sources.hub import go_offline_if_unreachable

if TYPE_CHECKING:
    import torch

FILE_NAME = "quality.json"
# How many of the most confident wrong predictions are shown, and to how many characters each review is cut.
MOST_WRONG, LONGEST_TEXT = 5, 300


@dataclass(frozen=True)
class Rate:
    """How many predictions are right, and the 95 % confidence interval of their share."""

    right: int
    count: int
    low: float
    high: float

    @property
    def accuracy(self) -> float:
        return self.right / self.count

    def sentence(self) -> str:
        """`The model classifies 82.0 % of the 256 examples correctly; the 95 % confidence interval is ...`."""
        return (
            f"The model classifies {100 * self.accuracy:.1f} % of the {self.count:,} examples correctly; the 95 % "
            f"confidence interval is {100 * self.low:.1f} to {100 * self.high:.1f} %"
        )


@dataclass(frozen=True)
class ClassScore:
    """One class.

    Attributes:
        name: in the model's configuration.
        reviews: how many reviews of the subset are of it.
        precision: of the reviews that are predicted as this class, the share that is; None: none is predicted.
        recall: of the reviews of this class, the share that is predicted as it; None: there are none.
        f1: the harmonic mean of the two; None: the class neither occurs nor is predicted.
    """

    name: str
    reviews: int
    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True)
class WrongAnswer:
    """A review that the model classifies wrongly, and with which probability.

    Attributes:
        place: in the evaluation subset, from 0.
        text: cut to some 300 characters.
        truth, said: the names of the true and the predicted class.
        probability: of the predicted class, according to the model.
    """

    place: int
    text: str
    truth: str
    said: str
    probability: float


@dataclass(frozen=True)
class Answers:
    """One model's predictions on the subset.

    Attributes:
        rate: its accuracy.
        loss: mean over the reviews, as the loops compute it.
        confusion: a row per true class, a column per predicted class.
        classes: in the order of the rows.
        wrong: the wrong predictions with the highest probability, the highest first.
        note: why the loop's own last evaluation has another accuracy; empty if it has the same, or has none.
    """

    rate: Rate
    loss: float
    confusion: list[list[int]]
    classes: list[ClassScore]
    wrong: list[WrongAnswer]
    note: str

    @property
    def has_gaps(self) -> bool:
        """Whether precision or recall of any class is 0 / 0."""
        return any(None in (score.precision, score.recall) for score in self.classes)


@dataclass(frozen=True)
class Paired:
    """A model and a baseline on the same reviews.

    Attributes:
        only_model, only_baseline: how many reviews only the model, only the baseline classifies correctly.
        chance: how likely such a difference is if both are equally good: the p-value of McNemar's exact test.
    """

    only_model: int
    only_baseline: int
    chance: float

    def sentence(self, baseline: str) -> str:
        """Which of the two is better, if that is significant, and the test behind it."""
        better, worse = ("model", baseline) if self.only_model > self.only_baseline else (baseline, "model")
        verdict = f"The {better} is better than the {worse}"
        if self.chance >= LEVEL:  # it may be chance
            verdict = f"This validation set is too small to say whether the model is better than the {baseline}"
        chance = "less than 0.1 %" if self.chance < 0.001 else f"{100 * self.chance:.1f} %"
        return (
            f"{verdict}. On {self.only_model:,} examples only the model is right, on {self.only_baseline:,} only the "
            f"{baseline}. If both were equally good, chance alone would give a difference this large in {chance} "
            "of such tests (McNemar's exact test)"
        )


@dataclass(frozen=True)
class Baseline:
    """A simple classifier, on the same subset.

    Attributes:
        name: in a word or two.
        what: how it classifies.
        rate: its accuracy.
        against: each loop's model compared with it.
    """

    name: str
    what: str
    rate: Rate
    against: dict[str, Paired]


@dataclass(frozen=True)
class Quality:
    """How good a comparison's two models are.

    Attributes:
        of: what was measured: the digests of each loop's weights and record.
        precision: of the matrix products: `float32`, `bfloat16` or `float16`, as in the run.
        loops: the manual loop, Trainer.
        same_answers: for how many reviews both predict the same class.
        same_logits: for how many all logits are equal, bit for bit.
        baselines: the simplest first.
    """

    of: dict[str, list[str]]
    precision: str
    loops: dict[str, Answers]
    same_answers: int
    same_logits: int
    baselines: list[Baseline]

    @property
    def count(self) -> int:
        """How many reviews there are."""
        return self.loops[LOOPS[0]].rate.count

    @property
    def is_one_model(self) -> bool:
        """Whether both give equal logits for every review: what holds for one holds for the other."""
        return self.same_logits == self.count

    def models_to_show(self) -> dict[str, tuple[str, Answers]]:
        """By loop, the heading of its model and its predictions; only the first where both give equal logits."""
        if self.is_one_model:
            return {LOOPS[0]: ("the model", self.loops[LOOPS[0]])}
        return {loop: (NAMES[loop], answers) for loop, answers in self.loops.items()}

    def agreement(self) -> str:
        """For how many reviews both loops' models agree."""
        if self.is_one_model:
            return f"Both loops' models give equal logits, bit for bit, for all {self.count:,} examples"
        return (
            f"Both loops' models predict the same class for {self.same_answers:,} of {self.count:,} examples; for "
            f"{self.same_logits:,} all logits are equal to the bit"
        )


QUALITY = Kept(FILE_NAME, Quality, "sameloop report", schema=1)


def measure(output_dir: Path) -> Quality:
    """How good the two models of the comparison in `output_dir` are; kept there in `quality.json`.

    The kept file is used if it is about the same weights and records. Each model classifies the evaluation subset
    once, in the run's own batches, order, device and precision, so that its accuracy is the one that its loop has
    reported.

    Raises:
        SameLoopError: there is no comparison, or model or data have changed.
    """
    use_one_device()  # before torch is imported
    comparison = read_comparison(output_dir)
    of = {loop: [comparison[loop]["weights_sha256"], comparison[loop]["record"]] for loop in LOOPS}
    with suppress(SameLoopError):  # nothing is kept, or it is damaged
        kept = QUALITY.read(output_dir)
        if kept.of == of:
            return kept
    quality = _measure(output_dir, of)
    try:
        QUALITY.write(output_dir, quality)
    except OSError as error:
        announce(f"note: {FILE_NAME} cannot be kept in {output_dir} ({error.strerror})")
    return quality


def _measure(output_dir: Path, of: dict[str, list[str]]) -> Quality:
    """As `measure`, without the kept file."""
    records = {loop: RunRecord.read(output_dir / loop) for loop in LOOPS}
    config = records["manual"].config
    go_offline_if_unreachable(config)
    subsets = prepared_subsets(config)
    data = records["manual"].header.get("data")
    if data is not None and data != subsets.described():
        raise SameLoopError(f"the data of --dataset {config.dataset} has changed since: run `sameloop compare` again")
    announce(f"both models classify {len(subsets.eval)} examples")
    texts, labels = subsets.eval[:]["text"], subsets.eval[:]["label"]
    loops, logits, names = {}, {}, []
    for loop in LOOPS:
        folder = output_dir / loop
        model = load_model(folder)
        logits[loop], loss = answer(model, folder, subsets, config)
        count = max(len(subsets.labels), logits[loop].shape[1])
        names = [str(model.config.id2label.get(number, number)) for number in range(count)]
        loops[loop] = scored(logits[loop], labels, texts, names, loss=loss, record=records[loop])
    ours, theirs = (logits[loop] for loop in LOOPS)
    predictions = {loop: logits[loop].argmax(dim=1).tolist() for loop in LOOPS}
    return Quality(
        of=of,
        precision="bfloat16" if config.bf16 else "float16" if config.fp16 else "float32",
        loops=loops,
        same_answers=sum(manual == trainer for manual, trainer in zip(*predictions.values(), strict=True)),
        same_logits=equal_rows(ours, theirs),
        baselines=list(_baselines(subsets, predictions, names)),
    )


def scored(
    logits: torch.Tensor,
    labels: Sequence[int],
    texts: Sequence[str],
    names: Sequence[str],
    *,
    loss: float,
    record: RunRecord,
) -> Answers:
    """How good a model's predictions are.

    Args:
        logits: (reviews, classes).
        labels, texts: of the reviews.
        names: of the classes, those of the labels too.
        loss: the mean.
        record: of the run, for the accuracy that it has reported.
    """
    predictions = logits.argmax(dim=1).tolist()
    pairs = Counter(zip(labels, predictions, strict=True))
    confusion = [[pairs[row, column] for column in range(len(names))] for row in range(len(names))]
    confidence = logits.double().softmax(dim=1).amax(dim=1).tolist()
    missed = [place for place, label in enumerate(labels) if predictions[place] != label]
    missed.sort(key=lambda place: -confidence[place])
    rate = rated(sum(pairs[number, number] for number in range(len(names))), len(labels))
    return Answers(
        rate=rate,
        loss=loss,
        confusion=confusion,
        classes=[class_score(confusion, number, name) for number, name in enumerate(names)],
        wrong=[
            WrongAnswer(place, _cut(texts[place]), names[labels[place]], names[predictions[place]], confidence[place])
            for place in missed[:MOST_WRONG]
        ],
        note=_note(rate, record),
    )


def rated(right: int, count: int) -> Rate:
    """A share of right answers with its interval."""
    return Rate(right, count, *wilson(right, count))


def class_score(confusion: Sequence[Sequence[int]], number: int, name: str) -> ClassScore:
    """Precision, recall and F1 of a class; None where the formula is 0 / 0."""
    right, of_it = confusion[number][number], sum(confusion[number])
    taken_for_it = sum(row[number] for row in confusion)
    return ClassScore(
        name=name,
        reviews=of_it,
        precision=right / taken_for_it if taken_for_it else None,
        recall=right / of_it if of_it else None,
        f1=2 * right / (of_it + taken_for_it) if of_it + taken_for_it else None,
    )


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT].rstrip()} …"


def _note(rate: Rate, record: RunRecord) -> str:
    """Why the loop itself has reported another accuracy for this model; empty if it has not."""
    config, evaluations = record.config, reported_evaluations(record)
    reported = [line["eval_accuracy"] for line in evaluations if line.get("eval_accuracy") is not None]
    # The best evaluation's weights may be those of any of them.
    candidates = reported if config.load_best_model_at_end else reported[-1:]
    if not candidates or any(abs(accuracy - rate.accuracy) < 0.5 / rate.count for accuracy in candidates):
        return ""
    why = "the reason is not known"
    if config.loop and record.loop == "manual":
        why = "its evaluation differs from Trainer's"
    if config.dataloader_drop_last:
        why = "it leaves out the last examples (--dataloader-drop-last)"
    elif config.torch_compile:
        why = "it has compiled the model, which rounds differently"
    return f"The loop itself has reported {100 * reported[-1]:.1f} % at last: {why}"


def _baselines(subsets: Subsets, predictions: dict[str, list[int]], names: Sequence[str]) -> Iterator[Baseline]:
    """The baselines, trained on the same training subset; `predictions`: of each loop's model."""
    train, labels = subsets.train[:], subsets.eval[:]["label"]
    # The first of classes that are equally common.
    most = max(range(len(names)), key=Counter(train["label"]).__getitem__)
    words = bag_of_words(train["text"], train["label"], subsets.eval[:]["text"], len(subsets.labels))
    always = f"always {names[most]}, the most frequent class of the training set"
    for name, description, answers in (
        ("most frequent class", always, [most] * len(labels)),
        (NAME, DESCRIPTION, words),
    ):
        right = [answer == label for answer, label in zip(answers, labels, strict=True)]
        against = {}
        for loop, models in predictions.items():
            model = [answer == label for answer, label in zip(models, labels, strict=True)]
            pairs = Counter(zip(model, right, strict=True))
            only_model, only_baseline = pairs[True, False], pairs[False, True]
            against[loop] = Paired(only_model, only_baseline, mcnemar(only_model, only_baseline))
        yield Baseline(name, description, rated(sum(right), len(right)), against)
