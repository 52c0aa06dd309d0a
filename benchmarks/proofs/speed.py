"""docs/speed.md and its picture: `make speed-lesson` makes them of what `sameloop speed --lesson` has measured."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.speed.lesson import MEASURED, PAGE, PICTURE, page, read_lesson
from benchmarks.speed.lesson_chart import speed_chart
from shared.files import write_json
from shared.progress import announce
from shared.running.run import default_output_dir


def main() -> None:
    """Make `docs/speed.md` and its picture of what was measured in the lesson's folder."""
    found = read_lesson(Path(sys.argv[1]) if len(sys.argv) > 1 else default_output_dir("quick", "speed-lesson"))
    write_json(MEASURED, found.as_dict())
    PAGE.write_text(page(found), encoding="utf-8")
    speed_chart(found).save(PAGE.with_name(PICTURE))
    announce(f"written: {PAGE.name} and {PICTURE}")


if __name__ == "__main__":
    main()
