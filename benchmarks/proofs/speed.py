"""docs/speed.md and its picture: `make speed-lesson` makes them of what `sameloop speed --lesson` has measured."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.speed import lesson
from benchmarks.speed.lesson import CHANGES, LESSON, PICTURE, Lesson, work
from benchmarks.speed.lesson_chart import speed_chart
from benchmarks.speed.lesson_table import HEADINGS, cells, legend, remarks
from shared.progress import announce
from shared.running.run import default_output_dir
from shared.starting.children import ROOT

PAGE = ROOT / "docs" / "speed.md"
# What docs/speed.md was made of.
MEASURED = Path(lesson.__file__).with_name("measured") / LESSON.name


def document(found: Lesson) -> str:
    """`docs/speed.md`."""
    parts = [
        "# A lesson in speed",
        "<!-- made by `make speed-lesson` -->",
        f"What each setting gains at the same work. Each row changes one thing in the plain loop. {work(found)}. "
        "Every run was the manual loop in a process of its own. `sameloop speed --lesson` measures the same on your "
        "machine, with any setting (`--train-size`, `--model`, `--max-length`, `--repeats 3`).",
        f"The machine: {found.footnote}.",
        f"![Useful tokens per second and accuracy with each change, at {_listed(found.lengths)} tokens]({PICTURE})",
    ]
    for length in found.lengths:
        lines = [f"| {' | '.join(HEADINGS)} |", "|---|" + "---:|" * (len(HEADINGS) - 1)]
        lines += [f"| {' | '.join(cells(found, row))} |" for row in found.at(length)]
        parts += [f"## At {length} tokens", "\n".join(lines)]
    parts.append(f"{'. '.join(_sentence(line) for line in legend(found))}.")
    parts.append("## Why")
    lines, noted = [], remarks(found)
    for change in CHANGES:
        settings = next(row.settings for row in found.rows if row.name == change.name)
        how = f" (`{settings}`)" if settings else ""
        said = "".join(f" Here: {line}." for line in noted.get(change.label, []))
        lines.append(f"- **{_sentence(change.label)}**{how}. {change.why}{said}")
    parts.append("\n".join(lines))
    parts.append(
        "`sameloop doctor` says what `--preset fast` is on your machine. The accuracies are of one seed, after one "
        "epoch: [more seeds](measurements.md#accuracy)."
    )
    return "\n\n".join(parts) + "\n"


def _sentence(text: str) -> str:
    return text if text.startswith(("torch", "bf16")) else text[0].upper() + text[1:]


def _listed(numbers: Sequence[int]) -> str:
    return " and ".join(map(str, numbers))


def main() -> None:
    """Make `docs/speed.md` and its picture of what was measured in the lesson's folder."""
    found = LESSON.read(Path(sys.argv[1]) if len(sys.argv) > 1 else default_output_dir("quick", "speed-lesson"))
    LESSON.write(MEASURED.parent, found)
    PAGE.write_text(document(found), encoding="utf-8")
    speed_chart(found).save(PAGE.with_name(PICTURE))
    announce(f"written: {PAGE.name} and {PICTURE}")


if __name__ == "__main__":
    main()
