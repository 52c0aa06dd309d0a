"""docs/speed.md and its chart: `make speed-lesson` makes them from the results of `sameloop speed --lesson`."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.proofs.measuring import DOCS, page
from benchmarks.speed import lesson
from benchmarks.speed.lesson import CHANGES, LESSON, PICTURE, Lesson, work
from benchmarks.speed.lesson_chart import speed_chart
from benchmarks.speed.lesson_table import HEADINGS, cells, legend, remarks
from shared.progress import announce
from shared.running.run import default_output_dir

PAGE = DOCS / "speed.md"
# The results from which docs/speed.md was made.
MEASURED = Path(lesson.__file__).with_name("measured") / LESSON.name


def document(results: Lesson) -> str:
    """`docs/speed.md`."""
    return page(
        PAGE.name,
        results=results,
        work=work(results),
        picture=PICTURE,
        headings=HEADINGS,
        cells=cells,
        legend=". ".join(map(_sentence, legend(results))),
        changes=CHANGES,
        settings={row.name: row.settings for row in results.rows},
        remarks=remarks(results),
        sentence=_sentence,
    )


def _sentence(text: str) -> str:
    return text if text.startswith(("torch", "bf16")) else text[0].upper() + text[1:]


def main() -> None:
    """Make `docs/speed.md` and its chart from the results in the lesson's folder."""
    results = LESSON.read(Path(sys.argv[1]) if len(sys.argv) > 1 else default_output_dir("quick", "speed-lesson"))
    LESSON.write(MEASURED.parent, results)
    PAGE.write_text(document(results), encoding="utf-8")
    speed_chart(results).save(PAGE.with_name(PICTURE))
    announce(f"written: {PAGE.name} and {PICTURE}")


if __name__ == "__main__":
    main()
