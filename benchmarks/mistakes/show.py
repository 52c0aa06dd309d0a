"""`sameloop break` and `sameloop exercise`: a mistake's line, what finds it, what it costs; and one to find."""

from __future__ import annotations

import base64
import difflib
import os
import random
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchmarks.check.rubric import ITEMS
from benchmarks.mistakes.catalogue import GALLERY, UNSEEN
from benchmarks.mistakes.mistake import Mistake, differing_lines, right_script, wrong_script
from shared.errors import SameLoopError
from shared.progress import is_interactive
from shared.running.command import CONTEXT, debug_option

if TYPE_CHECKING:
    from rich.console import Console

    from benchmarks.mistakes.costs import Cost

FILES = ("gallery.json", "gallery.png", "gallery.alt.txt", "gallery.html")
# The first line of an exercise does not tell what is wrong with it.
EXERCISE = (
    '"""One line of this loop, or a few, are wrong. Which phase is it? `sameloop check` tells, after your guess."""'
)


def mistake_named(name: str) -> Mistake:
    """A mistake of the gallery.

    Raises:
        SameLoopError: there is no mistake of this name.
    """
    mistake = GALLERY.get(name.replace("-", "_"))
    if mistake is None:
        near = difflib.get_close_matches(name.replace("-", "_"), GALLERY, 1)
        raise SameLoopError(
            f"there is no mistake {name!r}{f': {near[0]}?' if near else ''}; `sameloop break` lists all"
        )
    return mistake


def changed_lines(mistake: Mistake) -> list[str]:
    """What the mistake changes in the script, a line each, beginning with `-` or `+`."""
    return [sign + line for sign, line in differing_lines(right_script(mistake), wrong_script(mistake))]


def first_failure(mistake: Mistake) -> dict[str, Any]:
    """The row of the check's rubric that fails first, and all items that fail."""
    from benchmarks.check.check import check_script

    result = check_script(wrong_script(mistake), mistake.settings)
    rows = [row for row in result.rubric if row["status"] == "fail"]
    row = min(rows, key=lambda row: (row["step"] or 0, ITEMS.index(row["item"])))
    return {**row, "failures": result.failures}


def print_list(console: Console) -> None:
    """Print every mistake with its phase and where it happened, and those that a check cannot see."""
    from rich.text import Text

    console.print(f"{len(GALLERY)} mistakes that people made, each shown by sameloop break NAME\n")
    for mistake in sorted(GALLERY.values(), key=lambda mistake: ITEMS.index(mistake.fails[0])):
        console.print(Text.assemble((f"{mistake.name:22}", "bold"), mistake.what), soft_wrap=True)
        console.print(Text(f"{'':22}{mistake.fails[0]}; {mistake.source}", "dim"), soft_wrap=True)
    console.print()
    console.print("Not seen by a check:")
    for sentence in UNSEEN:
        console.print(f"  {sentence}", soft_wrap=True)


def print_one(name: str, preset: str, seeds: int, processes: int, output_dir: Path | None, console: Console) -> None:
    """Print one mistake: its lines, a question, the first difference, what it costs; and draw a chart of that.

    Raises:
        SameLoopError: there is no such mistake, or the folder holds something else.
    """
    from rich.text import Text

    from benchmarks.mistakes.costs import SIGNS, costs_of

    mistake = mistake_named(name)
    folder = _folder(output_dir or Path("runs") / f"break-{mistake.name}")
    console.print(Text(mistake.what, "bold"))
    console.print(f"where it happened: {mistake.source}")
    if mistake.settings:
        console.print("with " + ", ".join(f"{setting}={value}" for setting, value in mistake.settings.items()))
    for line in changed_lines(mistake):
        console.print(Text(f"  {line}", "green" if line[0] == "+" else "red"))
    guess = ask("What will one notice without a check?", SIGNS, console)
    row = first_failure(mistake)
    where = f"step {row['step']}" if row["step"] else "the whole run"
    console.print(f"first difference: {where}, {row['item']}: {row['cause']}")
    console.print(f"  here: {row['student']}\n  right: {row['right']}")
    (cost,), _ = costs_of([mistake], preset, seeds, processes)
    console.print(_cost_table(cost))
    if guess:
        console.print("right!" if guess in cost.signs else f"no, not {guess}", style="bold")
    console.print(f"what one notices without a check: {cost.noticed()}")
    write_gallery(folder, [cost], preset, {mistake.name: row})
    click.echo(f"the chart: {folder / 'gallery.png'}", err=True)


def print_gallery(preset: str, seeds: int, processes: int, output_dir: Path | None, console: Console) -> None:
    """Print a table of every mistake, the most costly first, and write a page and a chart.

    Raises:
        SameLoopError: the folder holds something else.
    """
    from rich.table import Table

    from benchmarks.mistakes.costs import by_cost, costs_of

    folder = _folder(output_dir or Path("runs") / f"{preset}-gallery")
    mistakes = list(GALLERY.values())
    costs, results = costs_of(mistakes, preset, seeds, processes, first_failure)
    costs, rows = by_cost(costs), {mistake.name: row for mistake, row in zip(mistakes, results, strict=True)}
    table = Table(title=f"{len(costs)} mistakes, the most costly first: {seeds} seeds each", title_justify="left")
    table.add_column("mistake", no_wrap=True)
    table.add_column("accuracy", justify="right", no_wrap=True)
    table.add_column("phase", no_wrap=True)
    table.add_column("what one notices without a check")
    for cost in costs:
        table.add_row(cost.name, f"{100 * cost.accuracy:+.1f}", rows[cost.name]["item"], cost.noticed())
    console.print(table)
    write_gallery(folder, costs, preset, rows)
    click.echo(f"the page: {folder / 'gallery.html'}", err=True)


def write_gallery(folder: Path, costs: Sequence[Cost], preset: str, rows: Mapping[str, Mapping[str, Any]]) -> None:
    """Write `gallery.json`, the chart with its text, and the page to a folder.

    Args:
        folder: made if absent.
        costs: in the order in which they are shown.
        rows: what a check says first, by the mistake's name.
    """
    import jinja2

    from benchmarks.mistakes.costs import GALLERY_KEPT, cost_config, job_of
    from benchmarks.mistakes.costs_chart import costs_chart
    from shared.running.run import environment

    config = cost_config(preset, 0, {})
    job = job_of(config)
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "config": config.model_dump(),
        "environment": environment(),
        "mistakes": [
            {
                **asdict(cost),
                "accuracy_difference": cost.accuracy,
                "signs": cost.signs,
                "noticed": cost.noticed(),
                "check": dict(rows[cost.name]),
            }
            for cost in costs
        ],
    }
    GALLERY_KEPT.write(folder, content)
    chart = costs_chart(costs, job)
    picture = chart.save(folder / "gallery.png")
    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    template = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True).get_template(
        "gallery.html"
    )
    script = template.render(
        gallery=GALLERY,
        costs=costs,
        rows=rows,
        changed_lines=changed_lines,
        unseen=UNSEEN,
        job=job,
        seeds=len(costs[0].right),
        right=[round(100 * run.accuracy, 1) for run in costs[0].right],
        chart=base64.b64encode(picture.read_bytes()).decode(),
        alt=chart.alt,
    )
    (folder / "gallery.html").write_text(script, encoding="utf-8")


def _folder(folder: Path) -> Path:
    """A folder to write to.

    Raises:
        SameLoopError: it holds something that is not a gallery's.
    """
    if folder.exists() and (not folder.is_dir() or any(file.name not in FILES for file in folder.iterdir())):
        raise SameLoopError(f"{folder} holds something else: name another with --output-dir")
    return folder


def _cost_table(cost: Cost) -> Any:
    from rich.table import Table

    table = Table(title=f"what it costs, over {len(cost.right)} seeds", title_justify="left")
    for column in ("seed", "right", "with the mistake", "reported by it", "loss: right", "mistake", "reported"):
        table.add_column(column, justify="right")
    for seed, (right, wrong) in enumerate(zip(cost.right, cost.wrong, strict=True)):
        accuracies = (right.accuracy, wrong.accuracy, wrong.reported_accuracy)
        losses = (right.loss, wrong.loss, wrong.reported_loss)
        table.add_row(str(seed), *(f"{value:.1%}" for value in accuracies), *(f"{value:.4f}" for value in losses))
    return table


def ask(question: str, answers: Iterable[str], console: Console) -> str:
    """Ask where somebody can answer; elsewhere the question is only printed."""
    console.print(question, style="bold")
    console.print(f"  ({', '.join(answers)})", soft_wrap=True)
    if not (is_interactive() and sys.stdin.isatty()):
        return ""
    return click.prompt("your guess", default="", show_default=False).strip()


# Exercises ----------------------------------------------------------------------------------------


def exercise(name: str | None, output: Path, guess: str | None, console: Console) -> None:
    """Plant a mistake in a copy of the minimal loop; with a guess, answer it.

    Raises:
        SameLoopError: there is no such mistake or phase, or the file is no exercise.
    """
    if guess is not None:
        answer(output, guess, console)
        return
    if output.exists():
        raise SameLoopError(f"{output} exists already: guess with --guess PHASE, or name another file with --output")
    mistake = mistake_named(name) if name else random.Random(os.urandom(8)).choice(list(GALLERY.values()))
    output.write_text(exercise_source(mistake), encoding="utf-8")
    settings = "".join(f" --{setting.replace('_', '-')} {value}" for setting, value in mistake.settings.items())
    console.print(f"written: {output}, a loop with one mistake")
    row = first_failure(mistake)
    where = f"at step {row['step']}" if row["step"] else "over the whole run"
    console.print(f"the verdict: different, first {where}; the rest is for you to find out", soft_wrap=True)
    reply = ask("Read the file: which phase is it?", ITEMS, console)
    if reply:
        answer(output, reply, console)
    else:
        console.print(f"guess: sameloop exercise --output {output} --guess PHASE", soft_wrap=True)
    console.print(f"fix it, then: sameloop check {output}{settings}", soft_wrap=True)


def exercise_source(mistake: Mistake) -> str:
    """The text of an exercise: the script with the mistake, without a first line that gives it away."""
    _, _, rest = wrong_script(mistake).source.partition("\n")
    return f"{EXERCISE}\n{rest}"


def answer(file: Path, guess: str, console: Console) -> None:
    """Say whether a guess is right.

    Raises:
        SameLoopError: there is no such phase, the file is no exercise, or it has been changed.
    """
    if guess not in ITEMS:
        raise SameLoopError(f"--guess {guess}: there is no such phase; the phases are {', '.join(ITEMS)}")
    try:
        source = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise SameLoopError(f"{file}: there is no exercise; `sameloop exercise` writes one") from None
    mistake = next((candidate for candidate in GALLERY.values() if exercise_source(candidate) == source), None)
    if mistake is None:
        raise SameLoopError(f"{file} is not an exercise as it was written: judge it with `sameloop check {file}`")
    console.print("right!" if guess == mistake.fails[0] else f"no, it is not {guess}", style="bold")
    if guess == mistake.fails[0]:
        console.print(
            f"{mistake.what} ({mistake.source}); what it costs: sameloop break {mistake.name}", soft_wrap=True
        )


# Commands -----------------------------------------------------------------------------------------


@click.command("break", context_settings=CONTEXT)
@click.argument("name", required=False, metavar="[NAME]")
@click.option("--all", "all_of_them", is_flag=True, help="the whole gallery: a page and a chart")
@click.option("--preset", default="tiny", show_default=True, metavar="NAME", help="what is trained")
@click.option("--seeds", type=click.IntRange(min=1), default=5, show_default=True, help="how many trainings of each")
@click.option("--jobs", type=click.IntRange(min=1), default=2, show_default=True, help="trainings at once")
@click.option("--output-dir", type=click.Path(path_type=Path), metavar="DIR", help="where page and chart go")
def break_command(
    name: str | None, all_of_them: bool, preset: str, seeds: int, jobs: int, output_dir: Path | None
) -> None:
    """List the gallery of mistakes; with NAME, show one: its lines, what sees it, what it costs."""
    from rich.console import Console

    console = Console(highlight=False)
    if name and all_of_them:
        raise SameLoopError(f"--all shows every mistake: leave out {name}, or --all")
    if all_of_them:
        print_gallery(preset, seeds, jobs, output_dir, console)
    elif name:
        print_one(name, preset, seeds, jobs, output_dir, console)
    else:
        print_list(console)


@click.command("exercise", context_settings=CONTEXT)
@click.argument("name", required=False, metavar="[NAME]")
@click.option(
    "--output", type=click.Path(path_type=Path), default=Path("exercise.py"), show_default=True, help="the loop's file"
)
@click.option("--guess", metavar="PHASE", help="the phase that is wrong in the file")
def exercise_command(name: str | None, output: Path, guess: str | None) -> None:
    """Plant a mistake, NAME or any, in a copy of the minimal loop, for you to find."""
    from rich.console import Console

    exercise(name, output, guess, Console(highlight=False))


for command in (break_command, exercise_command):
    command.params.append(debug_option())
