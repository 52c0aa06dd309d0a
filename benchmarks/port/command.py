"""The options of `compare` and `eject` for a user's own script, and what these commands do with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchmarks.port.side import Script, Side, sides_of
from shared.config import RunConfig, option
from shared.errors import SameLoopError
from shared.running.command import DIVERGED

if TYPE_CHECKING:
    from benchmarks.lesson.xray import XRay


def own_trainer() -> list[click.Parameter]:
    """Parameters of `xray` and `diff` that name the script whose job it is."""
    return [
        click.Argument(["arguments"], nargs=-1, metavar="[-- ARGUMENTS]"),
        click.Option(
            ["--trainer"],
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="your own Trainer script, which runs unchanged. It is compared with the loop from --loop, or else "
            "with the loop that `eject` writes for it. Put the script's own arguments after --",
        ),
    ]


def own_sides() -> list[click.Parameter]:
    """Parameters of `compare` that name the script whose job it is, and the two sides to compare."""
    return [
        *own_trainer(),
        click.Option(
            ["--against"],
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="another loop, or another Trainer script, instead of Trainer",
        ),
    ]


def own_script() -> list[click.Parameter]:
    """Parameters of `eject` that name the script."""
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
    with_report: bool,
    parameters: dict[str, Any],
) -> int:
    """Compare two sides of which at least one is the user's; returns the exit status.

    Raises:
        SameLoopError: as `compare_sides`; or a setting is given where a script decides.
    """
    loop = parameters.get("loop")
    sides = sides_of(trainer, Path(loop) if loop else None, against, arguments)
    if sides[0].script is not None:
        _refuse_settings(parameters)
        config = RunConfig.build("tiny")
    else:
        from shared.running.command import config_from

        config = config_from(parameters)

    from rich.console import Console

    from benchmarks.port.compare import compare_sides, default_folder
    from benchmarks.verdict.table import print_comparison

    output_dir = output_dir or default_folder(sides[1] if sides[1].script else sides[0])
    comparison = compare_sides(sides, output_dir, overwrite, config)
    print_comparison(comparison, output_dir, Console(highlight=False))
    click.echo(f"verdict, chart, records and models in {output_dir}", err=True)
    if with_report:
        from benchmarks.lesson.report import write_report

        inside = _later(output_dir) if sides[0].script is not None else None
        click.echo(f"the report: {write_report(output_dir, inside=inside)}", err=True)
    return 0 if comparison["verdict"] == "identical" else DIVERGED


def _later(output_dir: Path) -> Callable[[], XRay]:
    """The x-ray of a report, refused: a script that takes long is not run twice more unless the user asks for it."""

    def refused() -> XRay:
        raise SameLoopError(
            f"it runs the script once more for each side; `sameloop report {output_dir}` makes the report with it"
        )

    return refused


def eject_own(file: Path, arguments: tuple[str, ...], output: Path | None, parameters: dict[str, Any]) -> None:
    """Write the loop that a script's Trainer stands for, with the script's own lines around it.

    Raises:
        SameLoopError: the script does not reach its Trainer, or the file already exists.
    """
    _refuse_settings(parameters)
    if output is not None and output.exists():
        raise SameLoopError(f"{output} already exists and stays as it is: give another name with -o")

    from benchmarks.pages.eject import write_script
    from benchmarks.port.compare import eject

    source, notes = eject(Script(file, arguments), output.name if output else f"{file.stem}_loop.py")
    for note in notes:
        click.echo(f"note: {note}", err=True)
    if output is None:
        click.echo(source, nl=False)
    else:
        write_script(source, output)
        click.echo(f"written: {output}", err=True)


def set_by_file(file: Path, arguments: tuple[str, ...], parameters: dict[str, Any]) -> None:
    """Take the settings that the command line does not set from a file of `TrainingArguments`; name what is not
    carried over.

    Raises:
        SameLoopError: as `settings_of`, or there are also arguments of a script.
    """
    from benchmarks.port.arguments import settings_of

    refuse_beside(f"{file}", dict.fromkeys(arguments, True))
    source_of = click.get_current_context().get_parameter_source
    settings, not_carried = settings_of(file, parameters["preset"])
    for argument in not_carried:
        click.echo(f"note: not carried over: {argument}", err=True)
    for name, value in settings.items():
        if source_of(name) is not click.core.ParameterSource.COMMANDLINE:
            parameters[name] = value


def refuse_beside(subject: str, options: dict[str, Any]) -> None:
    """Refuse options that would be ignored silently.

    Raises:
        SameLoopError: one of them is given.
    """
    for name in options:
        if options[name]:
            raise SameLoopError(f"{name}: not with {subject}; leave it out")


def own_job(
    output_dir: Path | None, trainer: Path | None, arguments: tuple[str, ...], parameters: dict[str, Any]
) -> tuple[Side, Side] | None:
    """The sides that `xray` and `diff` examine, where they belong to a script's job.

    Args:
        output_dir: the folder of a comparison; with `trainer` the first of the script's own arguments, if any.
        trainer: the script.
        arguments: the script's other arguments.
        parameters: the other options.

    Raises:
        SameLoopError: the options do not fit together, or the code that the comparison kept is not the code that ran.
    """
    from benchmarks.port.compare import is_own, kept_sides

    if trainer is None:
        if arguments:
            raise click.UsageError(f"Got unexpected extra argument ({arguments[0]})")
        if output_dir is None or not is_own(output_dir):
            return None
        _refuse_settings(parameters)
        refuse_beside(f"{output_dir}, which has its own", {"--loop": parameters["loop"]})
        return kept_sides(output_dir)
    _refuse_settings(parameters)
    all_arguments = arguments if output_dir is None else (str(output_dir), *arguments)
    return sides_of(trainer, Path(parameters["loop"]) if parameters["loop"] else None, None, all_arguments)


def look_inside(output_dir: Path) -> Callable[[], XRay] | None:
    """The x-ray for the report of a comparison on a script's job; None: the comparison is on our own job."""
    from benchmarks.port.compare import is_own, kept_sides

    if not is_own(output_dir):
        return None
    from benchmarks.port.xray import xray_sides

    return lambda: xray_sides(kept_sides(output_dir))


def _refuse_settings(parameters: dict[str, Any]) -> None:
    """Refuse settings: the script decides, and a setting on the command line would be ignored silently."""
    source_of = click.get_current_context().get_parameter_source
    for name in parameters:
        is_given = source_of(name) is click.core.ParameterSource.COMMANDLINE
        if is_given and name in RunConfig.model_fields and name != "loop":
            raise SameLoopError(
                f"{option(name)}: the script sets its own arguments; change it there, or put its arguments after --"
            )
