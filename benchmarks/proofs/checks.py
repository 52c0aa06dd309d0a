"""docs/check.md: what a check says of right loops, of mistakes, and of loops that do not want to be judged.

Right loops and mistakes run in this process, two dozen of the one and three of the other; hostile loops each apart, as
a student's do.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.check.check import check, check_script
from benchmarks.check.notes import BOUND
from benchmarks.check.rubric import GOOD, Result
from benchmarks.mistakes.catalogue import GALLERY, MISTAKES
from benchmarks.mistakes.mistake import MINIMAL, Mistake, right_script, wrong_script
from benchmarks.proofs.measuring import write_table
from shared.progress import announce
from shared.running.script import own_script
from shared.starting.children import ROOT

LOOPS = ROOT / "tests" / "loops"
DOCUMENT = ROOT / "docs" / "check.md"
COURSE, COURSE_ITEMS = LOOPS / "course.py", ["train mode", "clip", "optimizer"]
# Which mistakes the loops of tests/loops/wrong have; their author knew nothing of the rules, nor of this list.
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
# What a hostile loop may take: the endless ones take all of it.
HOSTILE_SECONDS, HOSTILE_MB = 40, 1500


class Judged(NamedTuple):
    """A mistake and what was said of it."""

    name: str
    wanted: list[str]
    result: Result
    code: str

    @property
    def caught(self) -> bool:
        return self.result.verdict == "different"

    @property
    def right_item(self) -> bool:
        return all(item in self.result.failures for item in self.wanted)

    @property
    def right_cause(self) -> bool:
        row = next(row for row in self.result.rubric if row["item"] == self.wanted[0])
        return row["code"] == self.code

    @property
    def also(self) -> list[str]:
        return [item for item in self.result.failures if item not in self.wanted]


def right_loops() -> list[Path]:
    """Right loops, each written another way."""
    return [MINIMAL, *sorted((LOOPS / "right").glob("*.py"))]


def right_settings() -> Iterator[Mistake]:
    """A mistake of each setting: what its page is before the mistake is right, too."""
    seen = set()
    for mistake in GALLERY.values():
        key = (mistake.setting, tuple(mistake.settings.items()))
        if mistake.setting and key not in seen:
            seen.add(key)
            yield mistake


def judge_mistake(mistake: Mistake) -> Judged:
    """What a check says of a mistake of the gallery."""
    result = check_script(wrong_script(mistake), mistake.settings)
    return Judged(mistake.name, list(mistake.fails), result, mistake.check)


def judge_wrong(name: str) -> Judged:
    """What a check says of a wrong loop of tests/loops/wrong; its first line says what is wrong."""
    file = LOOPS / "wrong" / f"{name}.py"
    wanted = [item for mistake in WRONG[name] for item in MISTAKES[mistake].fails]
    return Judged(name, wanted, check_script(own_script(file)), "")


def write_document() -> None:
    """Measure everything and write docs/check.md."""
    started = time.monotonic()
    announce("right loops")
    rights = [(file.name, check_script(own_script(file))) for file in right_loops()]
    rights += [
        (
            f"minimal.py, {', '.join(f'{k}={v}' for k, v in each.settings.items())}",
            check_script(right_script(each), each.settings),
        )
        for each in right_settings()
    ]
    announce("the course's loop, and mistakes")
    course = check_script(own_script(COURSE))
    gallery = [judge_mistake(mistake) for mistake in GALLERY.values()]
    wrong = [judge_wrong(name) for name in WRONG]
    announce("hostile loops, each apart")
    hostile = []
    for file in sorted((LOOPS / "hostile").glob("*.py")):
        hostile.append((file.name, check(file, seconds=HOSTILE_SECONDS, megabytes=HOSTILE_MB)))
    whole = check(MINIMAL)
    smallest = {
        f"{each.name}, {item}": value for each in (*gallery, *wrong) for item, value in each.result.smallest.items()
    }
    nearest = min(smallest, key=smallest.__getitem__)
    noise = max(result.rounding for _, result in rights)
    missed = [each for each in gallery if each.also or not (each.right_item and each.right_cause)]
    lines = [
        "# How `sameloop check` was tried",
        "",
        "Measured by `make check-table`. What is judged, and how to use it with a class: [course.md](course.md). "
        "Which phase each mistake fails: [gallery.md](gallery.md#what-finds-them).",
        "",
        f"- **Right loops, each written another way: {sum(r.verdict in GOOD for _, r in rights)} of {len(rights)} "
        f"pass.** Their largest difference from the right step is {noise:.1e} (relative), the bound is {BOUND:.0e}, "
        f"and the smallest difference of a mistake is {smallest[nearest]:.1e} ({nearest}).",
        f"- **Mistakes of the gallery: {_counts(gallery)}.**",
        *(f"  - **not so**: `{each.name}`, which fails {', '.join(each.result.failures)}" for each in missed),
        f"- **Wrong loops by an author who did not know the rules: {_counts(wrong, cause=False)}.** When they were "
        "first judged, one of the 13 was not caught, a second backward pass over one batch. It has a rule since.",
        f"- **The loop of the Hugging Face course's chapter 3**, written from its description, fails "
        f"{', '.join(f'`{item}`' for item in course.failures)}"
        f"{', and nothing else' if sorted(course.failures) == sorted(COURSE_ITEMS) else ''}.",
        f"- **Hostile loops: {sum(r.verdict not in GOOD for _, r in hostile)} of {len(hostile)}** do not pass. What "
        "72 further acts do to the machine: [hostile.md](hostile.md).",
        "",
        f"A check of a right loop took {whole.seconds:.0f} seconds and {whole.peak_mb:.0f} MB, without the judging. "
        "Every loop with what was found: [data/check.csv](data/check.csv).",
    ]
    rows = [("right", name, result.verdict, f"{result.rounding:.1e}") for name, result in rights]
    rows += [("wrong", each.name, each.result.verdict, ", ".join(each.result.failures)) for each in wrong]
    rows += [("hostile", name, result.verdict, _said(result)) for name, result in hostile]
    write_table("check", ("loop", "file", "verdict", "largest difference, phases that fail, or what is said"), rows)
    DOCUMENT.write_text("\n".join(lines) + "\n", encoding="utf-8")
    announce(f"written: {DOCUMENT.relative_to(ROOT)}, in {time.monotonic() - started:.0f} seconds")


def _counts(judged: list[Judged], cause: bool = True) -> str:
    total = len(judged)
    causes = f"the right cause for {sum(each.right_cause for each in judged)}, " if cause else ""
    return (
        f"{sum(each.caught for each in judged)} of {total} caught, the right phase for "
        f"{sum(each.right_item for each in judged)}, {causes}another phase failed as well for "
        f"{sum(bool(each.also) for each in judged)}"
    )


def _said(result: Result) -> str:
    return (result.why or ", ".join(result.failures)).replace("\n", " ").replace(str(ROOT), "...")[:200]


if __name__ == "__main__":
    write_document()
