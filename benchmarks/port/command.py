"""The options by which `compare` and `eject` are given somebody's own script, and what they then do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from benchmarks.port.side import Script, sides_of
from shared.config import RunConfig, option
from shared.errors import SameLoopError

DIVERGED = 1


def own_sides() -> list[click.Parameter]:
    """Of `compare`: whose job it is, and what is held against what."""
    return [
        click.Argument(["arguments"], nargs=-1, metavar="[-- ARGUMENTS]"),
        click.Option(
            ["--trainer"],
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="a Trainer script of yours, unchanged: is a loop that gets all that it builds the same? --loop FILE; "
            "without, the loop that `eject` writes for it. The script's own arguments after --",
        ),
        click.Option(
            ["--against"],
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="another loop, or another Trainer script, in the place of Trainer",
        ),
    ]


def own_script() -> list[click.Parameter]:
    """Of `eject`."""
    return [
        click.Argument(["file"], required=False, type=click.Path(path_type=Path), metavar="[SCRIPT]"),
        click.Argument(["arguments"], nargs=-1, metavar="[-- ARGUMENTS]"),
    ]


def compare_own(
    trainer: Path | None,
    against: Path | None,
    arguments: tuple[str, ...],
    output_dir: Path | None,
    overwrite: bool,
    parameters: dict[str, Any],
) -> int:
    """Compare two sides of which at least one is the user's; returns the exit status.

    Raises:
        SameLoopError: as `compare_sides`; or a dial is given where a script decides.
    """
    loop = parameters.get("loop")
    sides = sides_of(trainer, Path(loop) if loop else None, against, arguments)
    if sides[0].script is not None:
        _refuse_dials(parameters)
        config = RunConfig.build("tiny")
    else:
        from shared.running.command import config_from

        config = config_from(parameters)

    from rich.console import Console

    from benchmarks.port.compare import compare_sides, default_folder
    from benchmarks.port.table import print_sides

    output_dir = output_dir or default_folder(sides[1] if sides[1].script else sides[0])
    comparison = compare_sides(sides, output_dir, overwrite, config)
    print_sides(comparison, output_dir, Console(highlight=False))
    click.echo(f"verdict, chart, records and models in {output_dir}", err=True)
    return 0 if comparison["verdict"] == "identical" else DIVERGED


def eject_own(file: Path, arguments: tuple[str, ...], output: Path | None, parameters: dict[str, Any]) -> None:
    """Write the loop that a script's Trainer stands for, with the script's own lines around it.

    Raises:
        SameLoopError: the script does not come to its Trainer, or the file is there.
    """
    _refuse_dials(parameters)
    if output is not None and output.exists():
        raise SameLoopError(f"{output} is there already; it stays as it is: give another name with -o")

    from benchmarks.pages.eject import write_script
    from benchmarks.port.compare import ejected

    source, notes = ejected(Script(file, arguments), output.name if output else f"{file.stem}_loop.py")
    for note in notes:
        click.echo(f"note: {note}", err=True)
    if output is None:
        click.echo(source, nl=False)
    else:
        write_script(source, output)
        click.echo(f"written: {output}", err=True)


def refuse_beside(what: str, given: dict[str, Any]) -> None:
    """Refuse options that would be passed over without a word.

    Raises:
        SameLoopError: one of them is given.
    """
    for name in given:
        if given[name]:
            raise SameLoopError(f"{name}: not with {what}; leave it out")


def refuse_own_job(output_dir: Path, what: str) -> None:
    """Refuse what is made for our own job.

    Raises:
        SameLoopError: the folder holds a comparison on a script's job.
    """
    from benchmarks.port.compare import is_own

    if is_own(output_dir):
        raise SameLoopError(
            f"{output_dir}: {what} is made for SameLoop's own job, not for a script's; `sameloop locate` and "
            "`sameloop plot` take it, and comparison.json has all that was found"
        )


def _refuse_dials(parameters: dict[str, Any]) -> None:
    """The script decides: a dial besides would be passed over without a word."""
    source_of = click.get_current_context().get_parameter_source
    for name in parameters:
        is_given = source_of(name) is click.core.ParameterSource.COMMANDLINE
        if is_given and name in RunConfig.model_fields and name != "loop":
            raise SameLoopError(
                f"{option(name)}: the script sets its own arguments; change it there, or give its own ones after --"
            )
