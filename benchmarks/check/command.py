"""`sameloop check`, `sameloop start` and `sameloop autograder` on the command line."""

from __future__ import annotations

import json
import math
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from benchmarks.check.formats import FORMATS, as_text, print_result
from benchmarks.check.job import OWN_SETTINGS, job_config
from benchmarks.check.rubric import GOOD, ITEMS
from benchmarks.check.runner import MEGABYTES, SECONDS
from shared.config import RunConfig, meaning, show
from shared.errors import SameLoopError, shown
from shared.running.command import CONTEXT, SettingCommand, debug_option, setting_options, write_file

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

NOT_RIGHT = 1


def check_command() -> click.Command:
    """`sameloop check FILE` and `sameloop check FOLDER`."""
    return SettingCommand(
        "check",
        params=[
            click.Argument(["file"], type=click.Path(path_type=Path), metavar="FILE"),
            debug_option(),
            click.Option(["--hints"], is_flag=True, help="a question for each phase that is not right"),
            click.Option(
                ["--format", "file_format"],
                type=click.Choice(FORMATS),
                help="format of the result of one loop  [default: text]",
            ),
            click.Option(
                ["--output"],
                type=click.Path(path_type=Path),
                metavar="PATH",
                help="the file for the result; for many submissions, the folder  [default: the terminal; "
                "runs/check-NAME]",
            ),
            *_judging_options(),
            click.Option(
                ["--jobs"],
                type=click.IntRange(1, 2),
                default=1,
                metavar="INT",
                help="how many submissions are judged at once, 1 or 2  [default: 1]",
            ),
            *_settings(),
        ],
        callback=_check,
        help="Run the training loop in FILE (a Python file or a notebook) in a process of its own, and say which "
        "phases are right, which are not, and why. If FILE is a folder or a zip file, check every submission in it. "
        "Exit status: 0 right (identical, or equivalent up to rounding), 1 not right or failed, 2 wrong input; for a "
        "folder 0 when all have been checked.",
        context_settings=CONTEXT,
    )


def _check(
    file: Path,
    hints: bool,
    file_format: str | None,
    output: Path | None,
    points: Path | None,
    time_limit: float,
    memory_limit: int,
    jobs: int,
    **parameters: Any,
) -> int:
    settings = _settings_from(parameters)
    worth = read_points(points)
    if file.is_dir() or (file.is_file() and file.suffix.lower() == ".zip"):
        if file_format:
            raise SameLoopError(
                f"--format {file_format}: {file} is a folder or a zip, whose results are CSV and JSON; leave it out"
            )
        from benchmarks.check.submissions import check_folder

        check_folder(file, output, settings, points=worth, seconds=time_limit, megabytes=memory_limit, jobs=jobs)
        return 0
    from rich.console import Console

    from benchmarks.check.check import check
    from benchmarks.check.handed_in import find_loop

    with tempfile.TemporaryDirectory(prefix="sameloop-check-") as scratch:
        loop = file
        if file.is_file() and file.suffix.lower() == ".ipynb":
            submission = find_loop(file, Path(scratch) / "found")
            if submission.file is None:
                raise SameLoopError(submission.why)
            loop = submission.file
        result = check(loop, settings, points=worth, seconds=time_limit, megabytes=memory_limit)
        result = replace(result, name=file.name)
    file_format = file_format or FORMATS[0]
    if output is not None:
        write_file(output, as_text(result, file_format, hints))
    elif file_format == "text":
        print_result(result, Console(highlight=False), hints)
    else:
        click.echo(as_text(result, file_format, hints), nl=False)
    return 0 if result.verdict in GOOD else NOT_RIGHT


def autograder_command() -> click.Command:
    """`sameloop autograder ZIP`."""
    return SettingCommand(
        "autograder",
        params=[
            click.Argument(["file"], type=click.Path(path_type=Path), metavar="ZIP"),
            debug_option(),
            click.Option(["--hints"], is_flag=True, help="students see a question for each phase that is not right"),
            *_judging_options(),
            *_settings(),
        ],
        callback=_autograder,
        help="Write the zip that Gradescope takes as an autograder: it installs SameLoop and checks what a student "
        "hands in. A file that is there is not overwritten.",
        context_settings=CONTEXT,
    )


def _autograder(
    file: Path, hints: bool, points: Path | None, time_limit: float, memory_limit: int, **parameters: Any
) -> None:
    from benchmarks.check.autograder import Settings, autograder

    worth = read_points(points)
    settings = Settings(_settings_from(parameters), worth, time_limit, memory_limit, hints)
    write_file(file, autograder(settings), new=True)
    click.echo(f"written: {file}", err=True)


def start_command() -> click.Command:
    """`sameloop start [FILE]`."""
    return click.Command(
        "start",
        params=[
            click.Argument(["file"], required=False, type=click.Path(path_type=Path), metavar="[FILE]"),
            debug_option(),
            click.Option(["--notebook"], is_flag=True, help="a notebook with the skeleton in a cell"),
        ],
        callback=_start,
        help="Write a skeleton of a training loop with gaps, to FILE  [default: my_loop.py, or my_loop.ipynb]. A file "
        "that is there is not overwritten.",
        context_settings=CONTEXT,
    )


def _start(file: Path | None, notebook: bool) -> None:
    from benchmarks.check.start import notebook_text, skeleton

    suffix = ".ipynb" if notebook else ".py"
    file = file or Path("my_loop").with_suffix(suffix)
    if file.suffix != suffix:
        raise SameLoopError(f"{file}: its name must end with {suffix}" + ("" if notebook else ", or add --notebook"))
    write_file(file, notebook_text(file.stem) if notebook else skeleton(file.stem), new=True)
    click.echo(f"written: {file}", err=True)


def _judging_options() -> Sequence[click.Option]:
    return [
        click.Option(
            ["--points"],
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="what the phases are worth, as TOML: clip = 2  [default: 1 each]",
        ),
        click.Option(
            ["--time-limit"],
            type=click.FloatRange(min=1),
            default=SECONDS,
            metavar="SECONDS",
            help=f"what a loop may take  [default: {SECONDS}]",
        ),
        click.Option(
            ["--memory-limit"],
            type=click.IntRange(min=1),
            default=MEGABYTES,
            metavar="MB",
            help=f"what a loop may take  [default: {MEGABYTES}]",
        ),
    ]


def read_points(file: Path | None) -> dict[str, float] | None:
    """The points of the phases in a teacher's TOML file, which has a line such as `clip = 2` for each that is not 1.

    `schedule_step` and `"schedule step"` are the same. None without a file.

    Raises:
        SameLoopError: it cannot be read, is not TOML, names an unknown item, or has a value that is not 0 or more.
    """
    if file is None:
        return None
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SameLoopError(f"--points {file}: it cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SameLoopError(f"--points {file}: it is not TOML ({error}); write lines such as: clip = 2") from None
    points: dict[str, float] = {}
    for name, worth in content.items():
        item = name.replace("_", " ").replace("-", " ")
        if item not in ITEMS:
            raise SameLoopError(f"--points {file}: there is no phase {shown(name)}; there are {', '.join(ITEMS)}")
        if isinstance(worth, bool) or not isinstance(worth, (int, float)) or not 0 <= worth < math.inf:
            raise SameLoopError(f"--points {file}: {name} = {shown(worth)}: give a number that is at least 0")
        points[item] = worth
    return points


def _settings() -> list[click.Option]:
    """The options for the settings that a check has, with their default values in a check."""
    options = [setting for setting in setting_options() if setting.name in OWN_SETTINGS]
    defaults = job_config()
    for setting in options:
        setting.help = f"{meaning(setting.name)}  [default: {show(getattr(defaults, setting.name))}]"
    return options


def _settings_from(options: dict[str, Any]) -> dict[str, Any]:
    """The settings that the user has set, as values that JSON can hold.

    Raises:
        SameLoopError: a value is wrong.
    """
    chosen = {name: value for name, value in options.items() if name in RunConfig.model_fields and value is not None}
    config = job_config(**chosen)
    return json.loads(json.dumps({name: getattr(config, name) for name in chosen}))
