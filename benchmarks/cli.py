"""`sameloop`: every command in one place."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from benchmarks.compare import compare
from benchmarks.plot import FORMATS, KINDS, STYLE_NAMES, plot
from manual_loop.command import command as manual_command
from shared.command import CONTEXT, DialCommand, config_from, debug_option, dial_options, run_command, run_options
from shared.config import RunConfig, option
from shared.errors import SameLoopError
from shared.page import kept_pages, pages_of
from shared.record import RunRecord
from shared.run import default_output_dir
from trainer_loop.command import command as trainer_command

DIVERGED = 1


@click.group(context_settings=CONTEXT)
def sameloop() -> None:
    """Is the Hugging Face Trainer really the loop you wrote by hand? Run both, compare every bit."""


def _compare(
    output_dir: Path | None, overwrite_output_dir: bool, nproc_per_node: int, reuse: bool, **parameters: Any
) -> int:
    config = config_from(parameters)
    output_dir = output_dir or default_output_dir(config.preset)
    comparison = compare(config, output_dir, overwrite_output_dir, nproc_per_node, reuse)

    from rich.console import Console

    from benchmarks.table import print_comparison

    print_comparison(comparison, output_dir, Console(highlight=False))
    click.echo(f"verdict, chart, records and models in {output_dir}", err=True)
    # After the verdict, which must not wait for it: the x-ray runs both loops once more.
    from benchmarks.report import write_report

    click.echo(f"the report: {write_report(output_dir)}", err=True)
    return 0 if comparison["verdict"] == "identical" else DIVERGED


processes = click.Option(
    ["--nproc-per-node"],
    type=click.IntRange(1, 64),
    default=1,
    metavar="INT",
    help="processes per loop, as with torchrun  [default: 1]",
)
reused = click.Option(
    ["--reuse"],
    is_flag=True,
    help="of the comparison that DIR holds, keep a loop's run if its page and all else it depends on are unchanged",
)
sameloop.add_command(
    DialCommand(
        "compare",
        params=[*run_options(), processes, reused, *dial_options()],
        callback=_compare,
        help="Run both loops and compare them. Exit status: 0 identical, 1 diverged, 2 wrong input.",
        context_settings=CONTEXT,
    )
)
sameloop.add_command(manual_command)
sameloop.add_command(trainer_command)


@sameloop.command()
@click.argument("output_dir", type=click.Path(path_type=Path), metavar="DIR")
def locate(output_dir: Path) -> int:
    """Run both loops of the comparison in DIR again, up to their first divergence, and name the first tensor."""
    from benchmarks.locate import locate

    located = locate(output_dir)
    click.echo("identical: there is nothing to locate" if located is None else located)
    return 0 if located is None else DIVERGED


@sameloop.command()
@click.argument("output_dir", required=False, type=click.Path(path_type=Path), metavar="[RUN]")
@click.option("--loop", "file", metavar="FILE", help="a file of yours in place of the manual page")
def diff(output_dir: Path | None, file: str | None) -> None:
    """Show the two pages side by side, aligned by what their lines do, and what each phase costs by hand.

    With RUN, a comparison's folder, the pages that it ran.
    """
    if output_dir and file:
        raise SameLoopError("RUN and --loop exclude each other: RUN has its own pages")
    pages = kept_pages(output_dir) if output_dir else pages_of(RunConfig.build(loop=file))

    from rich.console import Console

    from benchmarks.diff import WIDTH, print_diff

    print_diff(pages, Console(width=WIDTH, highlight=False))


def _xray(output_dir: Path | None, step: int | None, as_json: bool, **parameters: Any) -> int:
    if output_dir is None:
        config, pages = config_from(parameters), None
    else:
        source_of = click.get_current_context().get_parameter_source
        given = [name for name in parameters if source_of(name) is click.core.ParameterSource.COMMANDLINE]
        if given:
            raise SameLoopError(
                f"{option(given[0])}: the x-ray of {output_dir} has its dials; leave out one of the two"
            )
        config, pages = RunRecord.read(output_dir / "manual").config, kept_pages(output_dir)

    from rich.console import Console

    from benchmarks.xray import WIDTH, print_xray, xray

    found = xray(config, step, pages)
    if as_json:
        click.echo(json.dumps(found.as_dict(), indent=1))
    else:
        print_xray(found, Console(width=WIDTH, highlight=False))
    return 0 if found.first_difference is None else DIVERGED


steps = click.Option(
    ["--step"],
    type=click.IntRange(min=1),
    metavar="INT",
    help="look into this step of the run at its full length  [default: step 1 of a run with a few of the reviews]",
)
sameloop.add_command(
    DialCommand(
        "xray",
        params=[
            click.Argument(["output_dir"], required=False, type=click.Path(path_type=Path), metavar="[RUN]"),
            debug_option(),
            steps,
            click.Option(["--json", "as_json"], is_flag=True, help="every event of the whole run, as JSON"),
            *dial_options(),
        ],
        callback=_xray,
        help="Trace a step, an evaluation and an epoch's end in both loops, down to Trainer's own lines. With RUN, a "
        "comparison's folder, the pages and the dials that it ran.",
        context_settings=CONTEXT,
    )
)


@sameloop.command("plot")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN [RUN ...]")
@click.option("--kind", type=click.Choice(KINDS), default="overview", show_default=True, help="what is drawn")
@click.option("--style", type=click.Choice(STYLE_NAMES), default="slide", show_default=True, help="for which ground")
@click.option("--format", "file_format", type=click.Choice(FORMATS), help="of the file  [default: png]")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="where it goes  [default: KIND-STYLE.FORMAT in the first RUN's folder]",
)
def draw_plot(runs: tuple[Path, ...], kind: str, style: str, file_format: str | None, output: Path | None) -> None:
    """Draw one run or many; RUN is a comparison's folder, a run's folder or a record.jsonl.

    The picture's text for those who cannot see it is written beside it, as NAME.alt.txt.
    """
    click.echo(plot(runs, kind, style, file_format, output))


@sameloop.command()
@click.argument("output_dir", type=click.Path(path_type=Path), metavar="RUN")
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="the page  [default: RUN/report.html]")
def report(output_dir: Path, output: Path | None) -> None:
    """Write one self-contained page about the comparison in RUN: charts, code side by side, x-ray, every step."""
    from benchmarks.report import write_report

    click.echo(write_report(output_dir, output))


@sameloop.command()
def doctor() -> None:
    """Say what this machine has and which presets can run here."""
    from benchmarks.doctor import print_diagnosis

    print_diagnosis()


@sameloop.command()
@click.option("--pairs", type=click.IntRange(min=1), default=5, show_default=True, help="how many interleaved pairs")
@click.option("--preset", default="quick", show_default=True, metavar="NAME", help="the preset to time")
def speed(pairs: int, preset: str) -> None:
    """Time both loops in interleaved pairs: median ratios, and the flight recorder's own cost."""
    from benchmarks.speed import print_speed

    print_speed(preset, pairs)


for each in (locate, diff, draw_plot, report, doctor, speed):
    each.params.append(debug_option())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `sameloop` and return its exit status."""
    return run_command(sameloop, "sameloop", arguments)


if __name__ == "__main__":
    sys.exit(main())
