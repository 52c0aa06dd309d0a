"""docs/speed.md and its chart: `make speed-lesson` makes them from the results of `sameloop speed --lesson`."""

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
# The results from which docs/speed.md was made.
MEASURED = Path(lesson.__file__).with_name("measured") / LESSON.name


def document(results: Lesson) -> str:
    """`docs/speed.md`."""
    parts = [
        "# A lesson in speed",
        "<!-- made by `make speed-lesson` -->",
        f"What each setting gains at the same work. Each row changes one thing in the plain loop. {work(results)}. "
        "Every run was the manual loop in a process of its own. `sameloop speed --lesson` measures the same on your "
        "machine, with any setting (`--train-size`, `--model`, `--max-length`, `--repeats 3`).",
        f"The machine: {results.footnote}.",
        f"![Useful tokens per second and accuracy with each change, at {_listed(results.lengths)} tokens]({PICTURE})",
    ]
    for length in results.lengths:
        lines = [f"| {' | '.join(HEADINGS)} |", "|---|" + "---:|" * (len(HEADINGS) - 1)]
        lines += [f"| {' | '.join(cells(results, row))} |" for row in results.at(length)]
        parts += [f"## At {length} tokens", "\n".join(lines)]
    parts.append(f"{'. '.join(_sentence(line) for line in legend(results))}.")
    parts.append("## Why")
    lines, noted = [], remarks(results)
    for change in CHANGES:
        settings = next(row.settings for row in results.rows if row.name == change.name)
        how = f" (`{settings}`)" if settings else ""
        remark_text = "".join(f" Here: {line}." for line in noted.get(change.label, []))
        lines.append(f"- **{_sentence(change.label)}**{how}. {change.why}{remark_text}")
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
    """Make `docs/speed.md` and its chart from the results in the lesson's folder."""
    results = LESSON.read(Path(sys.argv[1]) if len(sys.argv) > 1 else default_output_dir("quick", "speed-lesson"))
    LESSON.write(MEASURED.parent, results)
    PAGE.write_text(document(results), encoding="utf-8")
    speed_chart(results).save(PAGE.with_name(PICTURE))
    announce(f"written: {PAGE.name} and {PICTURE}")


if __name__ == "__main__":
    main()
