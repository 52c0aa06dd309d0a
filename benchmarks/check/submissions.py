"""`sameloop check` of a folder: every submission judged, a table, and a chart of the class."""

from __future__ import annotations

import ast
import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.check import check as checks
from benchmarks.check.formats import points_text
from benchmarks.check.rubric import FAILED, GOOD, ITEMS, Result, summary
from benchmarks.check.workshop import Workshop
from shared.errors import SameLoopError, shown
from shared.progress import announce

# Of several files that bind `train` these are meant.
USUAL_NAMES = ("train.py", "loop.py")
TABLE, CHART = "submissions.csv", "submissions.png"


class Submission(NamedTuple):
    """What somebody has handed in.

    Attributes:
        name: of the file without its suffix, or of the folder.
        file: the loop's; None: there is none.
        why: there is none, in a sentence.
    """

    name: str
    file: Path | None
    why: str = ""


def check_folder(
    folder: Path,
    output: Path | None,
    dials: Mapping[str, Any],
    *,
    points: Mapping[str, float] | None,
    seconds: float,
    megabytes: int,
    jobs: int = 1,
) -> dict[str, Result]:
    """Judge every submission in a folder, print a table, and write table, chart and results.

    Args:
        folder: holds a file or a folder per submission; nothing is written into it.
        output: where table, chart and a JSON file per submission go; None: `runs/check-<name>`.
        dials, points, seconds, megabytes: as `check` takes them.
        jobs: how many are judged at a time.

    Returns:
        The results by submission, in the order of the names.

    Raises:
        SameLoopError: there is no submission in it, or the output cannot be written.
    """
    submissions = find_submissions(folder)
    if not submissions:
        raise SameLoopError(f"{folder}: there is no Python file in it, and no folder that holds one")
    output = output or Path("runs") / f"check-{folder.resolve().name}"
    if output.resolve().is_relative_to(folder.resolve()):
        raise SameLoopError(f"{output} lies among the submissions; name another place with --output")
    try:
        output.mkdir(parents=True, exist_ok=True)
        found: dict[str, Result] = {}
        options = {"points": points, "seconds": seconds, "megabytes": megabytes}
        for submission, result in _judged(submissions, dict(dials), options, jobs):
            found[submission.name] = result
            kept = {"submission": submission.name, **result.as_dict(), **_for_the_teacher(result)}
            # As ASCII: a student's text may hold what UTF-8 cannot.
            (output / f"{submission.name}.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
            failures = f" ({', '.join(result.failures)})" if result.failures else ""
            announce(f"{len(found)} of {len(submissions)}: {shown(submission.name)}: {result.verdict}{failures}")
        results = {each.name: found[each.name] for each in submissions}
        (output / TABLE).write_text(csv_text(results), encoding="utf-8", newline="")
        from benchmarks.check.chart import class_chart

        class_chart(list(results.values())).save(output / CHART)
    except OSError as error:
        raise SameLoopError(f"cannot write {output} ({error.strerror}); name another place with --output") from None
    Console(highlight=False).print(table(results))
    announce(f"table, chart and every result in {output}")
    return results


def find_submissions(folder: Path) -> list[Submission]:
    """What was handed in: every Python file in a folder, and every folder in it that holds one; by name."""
    entries = [each for each in sorted(folder.iterdir()) if not each.name.startswith((".", "__"))]
    folders = [each for each in entries if each.is_dir()]
    taken = {each.name for each in folders}
    found = []
    for each in entries:
        if each.is_dir() and any(each.glob("*.py")):
            found.append(find_loop(each))
        elif each.is_file() and each.suffix == ".py":
            found.append(Submission(each.name if each.stem in taken else each.stem, each))
    return found


def find_loop(folder: Path) -> Submission:
    """The file of a submission that holds the loop: the one that binds `train`, or of several the one so named."""
    files = sorted(each for each in folder.glob("*.py") if each.is_file() and not each.name.startswith("."))
    name = folder.name
    if not files:
        return Submission(name, None, "there is no Python file")
    binding = files if len(files) == 1 else [each for each in files if binds_train(each)]
    if not binding:
        return Submission(name, None, "no file binds a function `train`")
    named = [each for usual in USUAL_NAMES for each in binding if each.name == usual]
    if len(binding) > 1 and not named:
        several = ", ".join(each.name for each in binding)
        return Submission(name, None, f"several files bind a function `train` ({several}): call one of them train.py")
    return Submission(name, (named or binding)[0])


def binds_train(file: Path) -> bool:
    """Whether a file seems to hold a loop, told by reading it only."""
    text = file.read_text(encoding="utf-8", errors="replace")
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return re.search(r"^def train\b", text, re.MULTILINE) is not None
    for statement in body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "train":
            return True
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        if any(isinstance(each, ast.Name) and each.id == "train" for each in targets):
            return True
    return False


def _judged(
    submissions: Sequence[Submission], dials: dict[str, Any], options: dict[str, Any], jobs: int
) -> Iterator[tuple[Submission, Result]]:
    """Each submission with its result, as they are done."""
    with Workshop() as workshop, ThreadPoolExecutor(jobs) as workers:
        options = {**options, "workshop": workshop}
        running = {workers.submit(judged, each, dials, options): each for each in submissions}
        try:
            for future in as_completed(running):
                yield running[future], future.result()
        except BaseException:  # Ctrl-C: those that wait are not judged first
            workers.shutdown(wait=False, cancel_futures=True)
            raise


def judged(submission: Submission, dials: dict[str, Any], options: dict[str, Any]) -> Result:
    """A submission's result; whatever goes wrong with it is one, too."""
    if submission.file is None:
        return checks.without_a_loop(submission.name, submission.why, options["points"])
    try:
        return checks.check(submission.file, dials, **options)
    except Exception as error:
        why = f"the check itself broke ({type(error).__name__}: {shown(error, 200)}); please report it"
        return checks.without_a_loop(submission.file.name, why, options["points"])


def _for_the_teacher(result: Result) -> dict[str, str]:
    return {"traceback": result.traceback, "output": result.output} if result.verdict == FAILED else {}


def csv_text(results: Mapping[str, Result]) -> str:
    """A line per submission: verdict, score, seconds, an item's status per column, and why one failed."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["submission", "verdict", "score", "max_score", "seconds", *ITEMS, "why"])
    for name, result in results.items():
        statuses = {row["item"]: row["status"] for row in result.rubric}
        numbers = (f"{result.score:g}", f"{result.most:g}", f"{result.seconds:.1f}")
        why = shown(result.why, 400)
        writer.writerow([_cell(name), result.verdict, *numbers, *(statuses[item] for item in ITEMS), _cell(why)])
    return file.getvalue()


def _cell(text: str) -> str:
    """A student's text as a cell that a spreadsheet does not take for a formula."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def table(results: Mapping[str, Result]) -> Table:
    """The class in the terminal."""
    shown_table = Table(title=summary(list(results.values())), title_justify="left")
    for heading, side in (
        ("submission", "left"),
        ("verdict", "left"),
        ("points", "right"),
        ("what is not right", "left"),
    ):
        shown_table.add_column(heading, justify=side)
    for name, result in results.items():
        said = result.why if result.verdict == FAILED else ", ".join(result.failures)
        verdict = Text(result.verdict, "green" if result.verdict in GOOD else "red")
        shown_table.add_row(
            Text(shown(name)), verdict, points_text(result).removesuffix(" points"), Text(shown(said, 120))
        )
    return shown_table
