"""`sameloop check` of a folder: judge every submission, and make a table and a chart of the class."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.check import check as checks
from benchmarks.check.formats import evidence, points_text
from benchmarks.check.handed_in import Submission, find_submissions
from benchmarks.check.rubric import FAIL, FAILED, GOOD, ITEMS, UNFINISHED, Result, summary
from benchmarks.check.workshop import Workshop
from shared.errors import SameLoopError, shown
from shared.progress import announce

TABLE, CHART = "submissions.csv", "submissions.png"


def check_folder(
    folder: Path, output: Path | None, settings: Mapping[str, Any], *, jobs: int = 1, **options: Any
) -> dict[str, Result]:
    """Judge every submission in a folder, print a table, and write table, chart and results.

    Args:
        folder: contains a file or a folder per submission, or is a zip file of them; nothing is written into it.
        output: the folder for the table, the chart and a JSON file per submission; None: `runs/check-<name>`.
        jobs: the number of submissions that are judged at the same time.
        settings, options: the arguments of `check`: `points`, `seconds` and `megabytes`.

    Returns:
        The result of each submission, sorted by name.

    Raises:
        SameLoopError: there is no submission in it, or the output cannot be written.
    """
    output = output or Path("runs") / f"check-{folder.stem if folder.is_file() else folder.resolve().name}"
    if output.resolve().is_relative_to(folder.resolve()):
        raise SameLoopError(f"{output} is in the folder of the submissions; name another place with --output")
    with tempfile.TemporaryDirectory(prefix="sameloop-check-") as scratch:
        submissions = find_submissions(folder, Path(scratch))
        if not submissions:
            raise SameLoopError(f"{folder}: there is no Python file, notebook, zip file or folder in it")
        results = _check_and_write(submissions, output, dict(settings), options, jobs)
    Console(highlight=False).print(table(results))
    announce(f"the table, the chart and every result are in {output}")
    return results


def _check_and_write(
    submissions: Sequence[Submission], output: Path, settings: dict[str, Any], options: dict[str, Any], jobs: int
) -> dict[str, Result]:
    """Judge all submissions; write each result when it is ready, and the table and the chart at the end."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        by_name: dict[str, Result] = {}
        for submission, result in _check_all(submissions, settings, options, jobs):
            by_name[submission.name] = result
            content = {"submission": submission.name, **result.as_dict()}
            if result.verdict == FAILED:
                content["traceback"] = result.traceback
            # As ASCII, because a student's text may contain characters that UTF-8 cannot hold.
            (output / f"{submission.name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
            failures = f" ({', '.join(result.failures)})" if result.failures else ""
            announce(f"{len(by_name)} of {len(submissions)}: {shown(submission.name)}: {result.verdict}{failures}")
        results = {submission.name: by_name[submission.name] for submission in submissions}
        (output / TABLE).write_text(csv_text(results), encoding="utf-8", newline="")
        from benchmarks.check.chart import class_chart

        class_chart(list(results.values())).save(output / CHART)
    except OSError as error:
        raise SameLoopError(f"cannot write {output} ({error.strerror}); name another place with --output") from None
    return results


def _check_all(
    submissions: Sequence[Submission], settings: dict[str, Any], options: dict[str, Any], jobs: int
) -> Iterator[tuple[Submission, Result]]:
    """Yield each submission with its result, in the order in which they finish."""
    with Workshop() as workshop, ThreadPoolExecutor(jobs) as workers:
        options = {**options, "workshop": workshop}
        running = {workers.submit(check_submission, s, settings, options): s for s in submissions}
        try:
            for future in as_completed(running):
                yield running[future], future.result()
        except BaseException:  # Ctrl-C: do not judge the waiting ones first
            workers.shutdown(wait=False, cancel_futures=True)
            raise


def check_submission(submission: Submission, settings: dict[str, Any], options: dict[str, Any]) -> Result:
    """The result of a submission; an error of the check is a result, too."""
    if submission.file is None:
        return checks.failed_result(submission.name, submission.why, options["points"])
    try:
        result = checks.check(submission.file, settings, **options)
        return replace(result, name=submission.original_name) if submission.original_name else result
    except Exception as error:
        why = f"the check itself failed ({type(error).__name__}: {shown(error, 200)}); please report it"
        return checks.failed_result(submission.file.name, why, options["points"])


def csv_text(results: Mapping[str, Result]) -> str:
    """One line per submission: verdict, score, seconds, the status of each item, and the causes."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["submission", "verdict", "score", "max_score", "seconds", *ITEMS, "why"])
    for name, result in results.items():
        statuses = {row["item"]: row["status"] for row in result.rubric}
        numbers = (f"{result.score:g}", f"{result.most:g}", f"{result.seconds:.1f}")
        wrong = (f"{row['item']}: {evidence(row)}" for row in result.rubric if row["status"] == FAIL)
        why = shown("; ".join([*([result.why] if result.why else []), *wrong]), 2000)
        writer.writerow([_cell(name), result.verdict, *numbers, *(statuses[item] for item in ITEMS), _cell(why)])
    return file.getvalue()


def _cell(text: str) -> str:
    """A student's text as a cell that a spreadsheet does not interpret as a formula."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def table(results: Mapping[str, Result]) -> Table:
    """The table of the class for the terminal."""
    class_table = Table(title=summary(list(results.values())), title_justify="left")
    for heading in ("submission", "verdict", "points", "what is not right"):
        class_table.add_column(heading, justify="right" if heading == "points" else "left")
    for name, result in results.items():
        reason = result.why if result.verdict in (UNFINISHED, FAILED) else ", ".join(result.failures)
        verdict = Text(result.verdict, "green" if result.verdict in GOOD else "red")
        class_table.add_row(
            Text(shown(name)), verdict, points_text(result).removesuffix(" points"), Text(shown(reason, 120))
        )
    return class_table
