"""Write the result of a check: for a terminal, as JSON, for Gradescope, as JUnit's XML."""

from __future__ import annotations

import html
import json
import re
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from benchmarks.check.rubric import (
    DIFFERENT,
    FAIL,
    FAILED,
    GOOD,
    HINTS,
    NOT_REACHED,
    OPEN,
    PASS,
    UNFINISHED,
    Result,
)
from shared.errors import shown

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.text import Text

FORMATS = ("text", "json", "gradescope", "junit")
# The mark before an item; the second is for terminals that have ASCII only. Colour adds no information.
MARKS = {PASS: ("✓", "ok"), FAIL: ("✗", "x"), NOT_REACHED: ("·", "-"), OPEN: ("○", "o")}
COLOURS = {PASS: "green", FAIL: "bold red", NOT_REACHED: "dim", OPEN: "yellow"}
# The name of the test for the whole loop where there is nothing to judge.
WHOLE = "the loop runs to its end"
LONGEST_REASON = 400
# The number of lines of the end of the loop's output that are shown in a terminal.
LAST_LINES = 5
# Characters that XML or UTF-8 cannot hold, and those that control a terminal.
UNFIT = re.compile("[^\t\n\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def as_text(result: Result, file_format: str, hints: bool = False) -> str:
    """A result as the text of a file.

    Args:
        result: of a check.
        file_format: one of `FORMATS`; `text` is as wide as it needs to be.
        hints: whether each failed item gets its question.
    """
    if file_format == "json":
        return json.dumps(result.as_dict(), indent=1) + "\n"
    if file_format == "gradescope":
        return json.dumps(gradescope(result, hints), indent=1) + "\n"
    if file_format == "junit":
        return junit(result, hints)

    from rich.console import Console

    console = Console(width=200, highlight=False, color_system=None)
    with console.capture() as captured:
        console.print(rubric_text(result, hints))
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def print_result(result: Result, console: Console, hints: bool = False) -> None:
    """Print a result's rubric and its verdict, in ASCII where the console has nothing else."""
    console.print(rubric_text(result, hints, ascii_only=console.options.ascii_only))


def rubric_text(result: Result, hints: bool = False, ascii_only: bool = False) -> Group:
    """One line per item, with a reason and a question for each failed one, and the verdict."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    def text(value: Any, style: str = "") -> Text:
        line = shown(value, LONGEST_REASON)
        return Text(line.encode("ascii", "backslashreplace").decode() if ascii_only else line, style)

    table = Table.grid(padding=(0, 2, 0, 0))
    for row in result.rubric:
        status = row["status"]
        lines = [text(evidence(row))]
        if hints and status == FAIL:
            lines.append(text(f"? {HINTS[row['item']]}", "italic"))
        mark = Text(MARKS[status][ascii_only], COLOURS[status])
        table.add_row(mark, text(row["item"]), Text("\n").join(lines))
    end = Text(result.verdict, "bold green" if result.verdict in GOOD else "bold red")
    end.append(f": {points_text(result)}, {result.seconds:.1f} s", "not bold default")
    printed = result.output.strip().splitlines()[-LAST_LINES:]
    output_lines = [text("it printed:", "dim"), *(text(f"  {line}", "dim") for line in printed)] if printed else []
    return Group(table, *output_lines, *([text(result.why)] if result.why else []), end)


def evidence(row: dict[str, Any]) -> str:
    """An item's evidence on one line: `step 3: norm 38.6, right is norm 1: the gradients are not clipped`."""
    if row["status"] in (NOT_REACHED, OPEN):
        return row["status"]
    if row["status"] == PASS:
        return ""
    values = f"{row['student']}, right is {row['right']}" if row["student"] or row["right"] else ""
    step = f"step {row['step']}" if row["step"] is not None else ""
    return ": ".join(part for part in (step, values, row["cause"]) if part)


def points_text(result: Result) -> str:
    """`14 of 15 points`."""
    return f"{result.score:g} of {result.most:g} point{'' if result.most == 1 else 's'}"


def gradescope(result: Result, hints: bool = False) -> dict[str, Any]:
    """The content of Gradescope's `results.json`; students do not see the traceback of a loop that failed."""
    tests = []
    if result.counts:
        for row in result.rubric:
            is_right = row["status"] == PASS
            tests.append(_test(row["item"], row["points"], row["most"], _reason(row, hints), is_right))
    if result.verdict in (UNFINISHED, FAILED):
        begin, most = ("", 0.0) if result.counts else ("There is nothing to judge: ", result.most)
        tests.append(_test(WHOLE, 0.0, most, f"{begin}{markdown_line(result.why.rstrip('.'))}."))
        tests.append(_hidden(result.traceback, result.output))
    comment = {
        "identical": "Every step is bit-identical to the right loop's.",
        "equivalent": "Every step is right, up to rounding.",
        DIFFERENT: f"Not right yet: {', '.join(result.failures)}.",
        UNFINISHED: result.why,
        FAILED: "The loop did not finish." if result.counts else "There was nothing to judge.",
    }[result.verdict]
    return {
        "score": result.score,
        "execution_time": round(result.seconds, 1),
        "output": f"**{result.verdict}**, {points_text(result)}. {comment}",
        "output_format": "md",
        "tests": tests,
    }


def broken(message: str, most: float, traceback: str = "") -> dict[str, Any]:
    """The content of a `results.json` for an error of the autograder, not of the loop.

    Args:
        message: for the student.
        most: the largest number of points.
        traceback: for the teacher.
    """
    tests = [_test("the autograder", 0.0, most, markdown_line(message))]
    return {"score": 0.0, "output_format": "md", "tests": [*tests, *([_hidden(traceback, "")] if traceback else [])]}


def _test(name: str, score: float, most: float, output: str, is_right: bool = False) -> dict[str, Any]:
    return {
        "name": name,
        "score": score,
        "max_score": most,
        "status": "passed" if is_right else "failed",
        "output": output,
        "output_format": "md",
        "visibility": "visible",
    }


def _hidden(traceback: str, output: str) -> dict[str, Any]:
    parts = (("Traceback", traceback), ("What it printed", output))
    text = "\n\n".join(f"{name}:\n\n{markdown_block(part)}" for name, part in parts if part.strip())
    return {**_test("for the teacher", 0.0, 0.0, text or "It printed nothing."), "visibility": "hidden"}


def _reason(row: dict[str, Any], hints: bool) -> str:
    if row["status"] == PASS:
        return "Right."
    if row["status"] == NOT_REACHED:
        return "Not reached: this phase was not seen in the run."
    if row["status"] == OPEN:
        return "Open: this gap is still to be filled."
    step = f"At step {row['step']}: " if row["step"] is not None else ""
    lines = [f"{step}{markdown_line(row['cause'])}."]
    if row["student"] or row["right"]:
        lines += ["", f"- yours: {markdown_line(row['student'])}", f"- right: {markdown_line(row['right'])}"]
    if hints:
        lines += ["", f"*{markdown_line(HINTS[row['item']])}*"]
    return "\n".join(lines)


def markdown_line(text: Any) -> str:
    """Escape untrusted text for a line of Markdown, so that nothing in it is markup."""
    line = html.escape(shown(text, LONGEST_REASON), quote=False)
    return re.sub(r"([\\`*_{}\[\]()#!|~$])", r"\\\1", line)


def markdown_block(text: str) -> str:
    """Untrusted text as a code block, between fences that are longer than any in it."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{clean(text).rstrip()}\n{fence}"


def clean(text: str) -> str:
    """Replace the characters that XML or UTF-8 cannot hold, and those that control a terminal."""
    return UNFIT.sub("\ufffd", text)


def junit(result: Result, hints: bool = False) -> str:
    """JUnit's XML: one testcase per item, and one more with the error if the loop failed."""
    rows = result.rubric
    failed = [row for row in rows if row["status"] == FAIL]
    skipped = [row for row in rows if row["status"] in (NOT_REACHED, OPEN)]
    crashed = result.verdict in (UNFINISHED, FAILED)
    suite = ElementTree.Element(
        "testsuite",
        name="sameloop check",
        tests=str(len(rows) + crashed),
        failures=str(len(failed)),
        errors=str(int(crashed)),
        skipped=str(len(skipped)),
        time=f"{result.seconds:.3f}",
    )
    for row in rows:
        case = ElementTree.SubElement(suite, "testcase", classname=clean(result.name), name=row["item"], time="0")
        if row["status"] == FAIL:
            failure = ElementTree.SubElement(case, "failure", message=clean(evidence(row)))
            failure.text = HINTS[row["item"]] if hints else None
        elif row in skipped:
            ElementTree.SubElement(case, "skipped", message=row["status"])
    if crashed:
        case = ElementTree.SubElement(suite, "testcase", classname=clean(result.name), name=WHOLE, time="0")
        error = ElementTree.SubElement(case, "error", message=shown(clean(result.why), LONGEST_REASON))
        error.text = clean(result.traceback) or None
        ElementTree.SubElement(case, "system-out").text = clean(result.output)
    ElementTree.indent(suite)
    text = ElementTree.tostring(suite, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'
