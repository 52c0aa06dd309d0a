"""`sameloop autograder`: the zip that Gradescope builds an autograder from, and the code that runs in it.

Gradescope unpacks the zip into `/autograder/source`, runs `setup.sh` once, and runs `run_autograder` for each
submission, which is in `/autograder/submission`. Then it shows `/autograder/results/results.json`.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
import traceback
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.check.formats import broken, gradescope
from benchmarks.check.rubric import make_rubric
from benchmarks.check.runner import MEGABYTES, SECONDS
from shared.errors import SameLoopError
from shared.files import read_json, write_json
from shared.starting.children import ROOT

SCRIPTS = ("setup.sh", "run_autograder")
# The packages; below, the other files that `pip install` needs, and the releases that it is pinned to.
FOLDERS = ("benchmarks", "manual_loop", "shared", "trainer_loop")
# This one is in these folders, but it is not installed: it runs from a checkout only.
NOT_INSTALLED = "benchmarks/proofs"
PROJECT_FILES = ("pyproject.toml", "README.md", "LICENSE", "sameloop.py")
PINS = "constraints.txt"
SETTINGS, BROKEN = "check.json", "broken.json"
NOT_YOUR_FAULT = "The autograder itself has failed; that says nothing about your loop. Please tell your teacher."
# All files of the zip have this date, so that equal settings give equal zips.
LONG_AGO = (2000, 1, 1, 0, 0, 0)


class Settings(NamedTuple):
    """How submissions are judged: the arguments of `benchmarks.check.check.check`, and whether students get hints."""

    settings: dict[str, Any]
    points: dict[str, float] | None = None
    seconds: float = SECONDS
    megabytes: int = MEGABYTES
    hints: bool = False

    @property
    def most(self) -> float:
        """The largest number of points that a loop can get."""
        return float(sum(row["most"] for row in make_rubric((), (), self.points)))


def autograder(settings: Settings) -> bytes:
    """The zip: the two scripts, the settings, and SameLoop itself, which is in no package registry.

    Raises:
        SameLoopError: this is an installed SameLoop without the files of its project.
    """
    if not (ROOT / PINS).is_file():
        raise SameLoopError("an autograder is made from SameLoop's own folder: clone it, and run sameloop from there")
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in _content(settings).items():
            entry = zipfile.ZipInfo(name, LONG_AGO)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix: the next line is a file's mode there
            entry.external_attr = (0o100755 if name in SCRIPTS else 0o100644) << 16
            archive.writestr(entry, content)
    return zipped.getvalue()


def _content(settings: Settings) -> dict[str, bytes]:
    """The zip's files by name."""
    scripts = Path(__file__).with_name("gradescope")
    content = {name: (scripts / name).read_bytes() for name in SCRIPTS}
    content[SETTINGS] = json.dumps(settings._asdict(), indent=1).encode()
    content[BROKEN] = json.dumps(broken(NOT_YOUR_FAULT, settings.most), indent=1).encode()
    content[PINS] = (ROOT / PINS).read_bytes()
    for name in PROJECT_FILES:
        content[f"sameloop/{name}"] = (ROOT / name).read_bytes()
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            name = path.relative_to(ROOT).as_posix()
            if path.is_file() and "__pycache__" not in path.parts and not name.startswith(f"{NOT_INSTALLED}/"):
                content[f"sameloop/{name}"] = path.read_bytes()
    return content


def grade(root: Path) -> dict[str, Any]:
    """The content of `results.json` for the submission below `root`; it is valid whatever happens."""
    from benchmarks.check.handed_in import find_loop
    from benchmarks.check.submissions import check_submission

    settings = Settings({})
    try:
        settings = Settings(**read_json(root / "source" / SETTINGS))
        options = {"points": settings.points, "seconds": settings.seconds, "megabytes": settings.megabytes}
        with tempfile.TemporaryDirectory() as scratch:
            submission = find_loop(root / "submission", Path(scratch) / "found")
            return gradescope(check_submission(submission, settings.settings, options), settings.hints)
    except Exception:
        return broken(NOT_YOUR_FAULT, settings.most, traceback.format_exc())


def main(arguments: Sequence[str]) -> int:
    """Judge the submission below the folder that is named, and write the results; `run_autograder` calls this."""
    root = Path(arguments[0])
    write_json(root / "results" / "results.json", grade(root))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
