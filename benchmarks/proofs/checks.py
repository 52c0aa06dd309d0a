"""docs/check.md: what a check says about right loops, about mistakes, and about hostile loops.

Right loops and mistakes run in this process, two dozen of the former and three of the latter; each hostile loop runs
in a process of its own, as a student's loop does.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.check.check import check, check_script
from benchmarks.check.notes import BOUND
from benchmarks.check.rubric import GOOD, Result
from benchmarks.mistakes.catalogue import GALLERY, MISTAKES
from benchmarks.mistakes.mistake import MINIMAL, Mistake, right_script, wrong_script
from benchmarks.proofs.measuring import DOCS, page, write_table
from shared.progress import announce
from shared.running.script import own_script
from shared.starting.children import ROOT

LOOPS = ROOT / "tests" / "loops"
DOCUMENT = DOCS / "check.md"
COURSE, COURSE_ITEMS = LOOPS / "course.py", ["train mode", "clip", "optimizer"]
# The mistakes of the loops in tests/loops/wrong; their author knew neither the rules nor this list.
WRONG = {
    "01_order_shuffled_once": ("same_order",),
    "02_padding_zip_truncates": ("cut_to_shortest",),
    "03_mask_all_ones": ("mask_of_ones", "eval_mask_of_ones"),
    "04_mode_train_once": ("train_mode_once",),
    "05_loss_softmax_first": ("softmax_first",),
    "06_backward_stops_at_head": ("frozen_body",),
    "07_clip_after_step": ("clip_after_step",),
    "08_optimizer_new_each_epoch": ("new_optimizer",),
    "09_schedule_per_epoch": ("schedule_per_epoch",),
    "10_zero_grad_per_epoch": ("zero_per_epoch",),
    "11_evaluation_without_eval_mode": ("no_eval_mode",),
    "12_reporting_mean_over_batches": ("mean_of_means",),
    "13_backward_twice": ("backward_twice",),
}
# The limits of a hostile loop: the endless ones reach them.
HOSTILE_SECONDS, HOSTILE_MB = 40, 1500


class Judgement(NamedTuple):
    """A mistake and the result of its check, with the items that must fail and the code that must be reported."""

    name: str
    expected: list[str]
    result: Result
    code: str = ""

    @property
    def caught(self) -> bool:
        return self.result.verdict == "different"

    @property
    def right_item(self) -> bool:
        return all(item in self.result.failures for item in self.expected)

    @property
    def right_cause(self) -> bool:
        row = next(row for row in self.result.rubric if row["item"] == self.expected[0])
        return row["code"] == self.code

    @property
    def also(self) -> list[str]:
        return [item for item in self.result.failures if item not in self.expected]

    @property
    def is_right(self) -> bool:
        """Whether the check fails the items that it must, no other, and names the cause."""
        if not self.expected:
            return self.result.verdict in GOOD
        return self.right_item and not self.also and self.right_cause


def right_loops() -> list[Path]:
    """Right loops, each written in a different way."""
    return [MINIMAL, *sorted((LOOPS / "right").glob("*.py"))]


def right_settings() -> list[Mistake]:
    """One mistake for each setting: its loop without the mistake is a right loop, too."""
    planted = [mistake for mistake in GALLERY.values() if mistake.setting]
    return list({(mistake.setting, *mistake.settings.items()): mistake for mistake in planted}.values())


def judge_mistake(mistake: Mistake) -> Judgement:
    """The check of a mistake that the minimal loop can have."""
    result = check_script(wrong_script(mistake), mistake.settings)
    return Judgement(mistake.name, list(mistake.fails), result, mistake.checked)


def judge_wrong(name: str) -> Judgement:
    """The check of a wrong loop of tests/loops/wrong; its first line says what is wrong."""
    file = LOOPS / "wrong" / f"{name}.py"
    expected = [item for mistake in WRONG[name] for item in MISTAKES[mistake].fails]
    return Judgement(name, expected, check_script(own_script(file)))


def write_document() -> None:
    """Measure everything and write docs/check.md."""
    started = time.monotonic()
    announce("right loops")
    rights = [(file.name, check_script(own_script(file))) for file in right_loops()]
    rights += [
        (
            f"minimal.py, {', '.join(f'{k}={v}' for k, v in entry.settings.items())}",
            check_script(right_script(entry), entry.settings),
        )
        for entry in right_settings()
    ]
    announce("the course's loop, and mistakes")
    course = check_script(own_script(COURSE))
    gallery = [judge_mistake(mistake) for mistake in GALLERY.values()]
    wrong = [judge_wrong(name) for name in WRONG]
    announce("hostile loops, each in a process of its own")
    hostile = [
        (file.name, check(file, seconds=HOSTILE_SECONDS, megabytes=HOSTILE_MB))
        for file in sorted((LOOPS / "hostile").glob("*.py"))
    ]
    whole = check(MINIMAL)
    smallest = {
        f"{entry.name}, {item}": value for entry in (*gallery, *wrong) for item, value in entry.result.smallest.items()
    }
    nearest = min(smallest, key=smallest.__getitem__)
    text = page(
        DOCUMENT.name,
        passed=sum(result.verdict in GOOD for _, result in rights),
        rights=len(rights),
        noise=f"{max(result.rounding for _, result in rights):.1e}",
        bound=f"{BOUND:.0e}",
        smallest=f"{smallest[nearest]:.1e} ({nearest})",
        gallery=_counts(gallery),
        missed=[entry for entry in gallery if not entry.is_right],
        wrong=_counts(wrong, cause=False),
        course=course.failures,
        nothing_else=sorted(course.failures) == sorted(COURSE_ITEMS),
        stopped=sum(result.verdict not in GOOD for _, result in hostile),
        hostile=len(hostile),
        seconds=f"{whole.seconds:.0f}",
        mb=f"{whole.peak_mb:.0f}",
    )
    rows = [("right", name, result.verdict, f"{result.rounding:.1e}") for name, result in rights]
    rows += [("wrong", entry.name, entry.result.verdict, ", ".join(entry.result.failures)) for entry in wrong]
    rows += [("hostile", name, result.verdict, _reason(result)) for name, result in hostile]
    write_table("check", ("loop", "file", "verdict", "largest difference, phases that fail, or what is said"), rows)
    DOCUMENT.write_text(text, encoding="utf-8")
    announce(f"written: {DOCUMENT.relative_to(ROOT)}, in {time.monotonic() - started:.0f} seconds")


def _counts(judged: list[Judgement], cause: bool = True) -> str:
    total = len(judged)
    causes = f"the right cause for {sum(entry.right_cause for entry in judged)}, " if cause else ""
    return (
        f"{sum(entry.caught for entry in judged)} of {total} caught, the right phase for "
        f"{sum(entry.right_item for entry in judged)}, {causes}another phase failed as well for "
        f"{sum(bool(entry.also) for entry in judged)}"
    )


def _reason(result: Result) -> str:
    return (result.why or ", ".join(result.failures)).replace("\n", " ").replace(str(ROOT), "...")[:200]


if __name__ == "__main__":
    write_document()
