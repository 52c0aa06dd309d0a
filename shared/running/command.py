"""The command line that both loops share: one option per setting, made from `RunConfig`.

click and pydantic only: `--help` must answer without importing torch.
"""

from __future__ import annotations

import atexit
import gc
import io
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, get_origin

import click

from shared.config import RunConfig, meaning, option, sections, values_by_preset
from shared.data import sized
from shared.errors import Interrupted, SameLoopError
from shared.presets import PRESETS
from shared.processes import launched_rank, launched_world_size
from shared.progress import announce
from shared.recording.record import RunRecord
from shared.running.checkpoints import LAST
from shared.running.run import default_output_dir, run_loop
from shared.running.script import kept_script, script_of
from shared.running.surroundings import settle
from shared.starting.interrupt import in_main_thread

# Exit statuses other than 0 and 2: of runs that differ, after Ctrl-C as in shells, and EX_SOFTWARE of sysexits.h.
DIVERGED = 1
INTERRUPTED = 130
OUR_MISTAKE = 70
# A setting, and what people call it elsewhere: `TrainingArguments` of transformers 4, the example scripts, torch.
OTHER_NAMES = {
    "--adam-epsilon": "eps",
    "--dataset": "dataset-name train-file",
    "--dataset-config": "dataset-config-name",
    "--eval-strategy": "evaluation-strategy",
    "--label-column": "label-column-name",
    "--learning-rate": "lr",
    "--lr-scheduler-type": "lr-scheduler scheduler",
    "--max-grad-norm": "clip-grad-norm",
    "--max-length": "max-seq-length",
    "--model": "model-name model-name-or-path",
    "--num-train-epochs": "epochs num-epochs",
    "--optim": "optimizer",
    "--per-device-eval-batch-size": "eval-batch-size per-gpu-eval-batch-size",
    "--per-device-train-batch-size": "batch-size per-gpu-train-batch-size train-batch-size",
    "--text-column": "text-column-name",
    "--train-sampling-strategy group_by_length": "group-by-length",
    "--use-cpu": "no-cuda",
    "--use-cpu, or on a Mac --use-mps": "device",
    "--use-mps": "use-mps-device",
    "--warmup-steps, where a number below 1 is the share of all steps": "warmup-ratio",
}
# What SameLoop has no setting for.
NOT_HERE = ("do-eval", "do-train", "logging-dir", "push-to-hub", "report-to")
CONTEXT = {
    "help_option_names": ["-h", "--help"],
    "max_content_width": 110,
    # `--learning_rate`, as Hugging Face's scripts spell it, is `--learning-rate`.
    "token_normalize_func": lambda name: name.replace("_", "-"),
}
# As `difflib` measures it: an option that is less like the one that was given is none that was meant.
ALIKE = 0.8


class SettingCommand(click.Command):
    """A command whose `--help` lists the settings by section."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        settings = {name: section for section, names in sections().items() for name in names}
        grouped: dict[str, list[tuple[str, str]]] = {"Options": []}
        for parameter in self.get_params(ctx):
            if record := parameter.get_help_record(ctx):
                grouped.setdefault(settings.get(parameter.name, "Options"), []).append(record)
        for section, records in grouped.items():
            with formatter.section(section):
                formatter.write_dl(records)


def setting_options() -> list[click.Option]:
    """`--preset` and one option per setting; its help gives meaning, default and the presets' other values."""
    options = [
        click.Option(["--preset"], default="quick", metavar="NAME", help=f"{', '.join(PRESETS)}  [default: quick]")
    ]
    for names in sections().values():
        for name in names:
            field = RunConfig.model_fields[name]
            help_text = f"{meaning(name)}  [default: {values_by_preset(name)}]"
            if field.annotation is bool:
                options.append(
                    click.Option([f"{option(name)}/{option('no_' + name)}", name], default=None, help=help_text)
                )
            else:
                options.append(click.Option([option(name), name], metavar=_metavar(field.annotation), help=help_text))
    return options


def debug_option() -> click.Option:
    """`--debug`; `run_command` looks for it, because it must work when nothing else does."""
    return click.Option(
        ["--debug"], is_flag=True, expose_value=False, help="show where in the code an error comes from"
    )


def run_options() -> list[click.Option]:
    """Where the run goes: options that are not settings, because they do not change the result."""
    return [
        debug_option(),
        click.Option(["--output-dir"], type=click.Path(path_type=Path), metavar="DIR", help="where the run is kept"),
        click.Option(
            ["--overwrite-output-dir"], is_flag=True, help="replace the run in DIR, which has other settings"
        ),
    ]


def config_from(parameters: dict[str, Any]) -> RunConfig:
    """Take the settings out of a command's parameters; those not given keep the preset's value.

    Errors as `RunConfig.build` and `settle`.
    """
    settings = {name: parameters.pop(name) for name in RunConfig.model_fields if name in parameters}
    return settle(RunConfig.build(**sized({name: value for name, value in settings.items() if value is not None})))


def script_config_from(parameters: dict[str, Any]) -> RunConfig:
    """The same for a script, which only has to save its model at the end: checkpoints are saved only on request."""
    source_of = click.get_current_context().get_parameter_source
    is_requested = source_of("save_strategy") is click.core.ParameterSource.COMMANDLINE
    if not is_requested and not parameters.get("load_best_model_at_end"):
        parameters["save_strategy"] = "no"
    return config_from(parameters)


def loop_command(loop: str, summary: str) -> click.Command:
    """The command that runs one loop, `manual` or `trainer`; `summary`: the first line of `--help`."""

    def run(
        *,
        output_dir: Path | None,
        overwrite_output_dir: bool,
        record: bool,
        detail_step: int | None,
        resume_from_checkpoint: str | None,
        code: Path | None,
        **parameters: Any,
    ) -> None:
        config = config_from(parameters)
        if config.loop and loop != "manual":
            raise SameLoopError(f"--loop {config.loop}: it takes the place of the manual loop, not of {loop}'s")
        script = kept_script(code) if code else script_of(loop, config)
        if output_dir is None and resume_from_checkpoint not in (None, LAST):
            output_dir = Path(resume_from_checkpoint).parent
        named, output_dir = output_dir, output_dir or default_output_dir(config.preset, loop)
        run_loop(
            loop,
            script,
            config,
            output_dir,
            overwrite=overwrite_output_dir,
            record=record,
            detail_step=detail_step,
            resume_from_checkpoint=resume_from_checkpoint,
        )
        if record and detail_step is None and launched_rank() == 0:
            print_losses(RunRecord.read(output_dir).log_history)
        # A user who has named the folder knows it, and it may be a temporary one.
        if named is None:
            announce(f"model and record in {output_dir}")

    return SettingCommand(
        loop,
        params=[*run_options(), *_instrument_options(), *setting_options()],
        callback=run,
        help=summary,
        context_settings=CONTEXT,
    )


def _instrument_options() -> list[click.Option]:
    """The options of one loop alone that are no settings."""
    return [
        click.Option(
            ["--resume-from-checkpoint"],
            metavar="last|PATH",
            help="resume a run that was interrupted, from its newest whole checkpoint or from the one named",
        ),
        click.Option(
            ["--record/--no-record"], default=True, help="whether the flight recorder watches  [default: yes]"
        ),
        click.Option(
            ["--detail-step"],
            type=click.IntRange(min=1),
            metavar="INT",
            help="record every tensor of this step and stop there; what `sameloop locate` uses",
        ),
        # Run the script that the run in this folder has kept; for `sameloop locate` alone.
        click.Option(["--code"], type=click.Path(path_type=Path), metavar="DIR", hidden=True),
    ]


def print_losses(log_history: list[dict[str, Any]]) -> None:
    """The table that `Trainer` shows in a notebook: one row per evaluation, or per log line if there was none.

    Args:
        log_history: what the loop logged: lines with `loss`, lines with `eval_loss` and perhaps `eval_accuracy`.
    """
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for heading in ("Step", "Epoch", "Training Loss", "Validation Loss", "Accuracy"):
        table.add_column(heading, justify="right")
    losses = {line["step"]: line["loss"] for line in log_history if "loss" in line}
    evaluations = {line["step"]: line for line in log_history if "eval_loss" in line}
    epochs = {line["step"]: line["epoch"] for line in log_history}
    for step in evaluations or losses:
        logged = [loss for logged_at, loss in losses.items() if logged_at <= step]
        evaluation = evaluations.get(step)
        table.add_row(
            str(step),
            f"{epochs[step]:.4g}",
            f"{logged[-1]:.6f}" if logged else "No log",
            f"{evaluation['eval_loss']:.6f}" if evaluation else "-",
            f"{evaluation['eval_accuracy']:.6f}" if evaluation and "eval_accuracy" in evaluation else "-",
        )
    Console(highlight=False).print(table)


def run_command(command: click.Command, program: str, arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit status.

    A user's mistake is one line on stderr and status 2, a stop on request one line and 128 plus the signal's number, a
    mistake of ours one line and status 70. With `--debug` the traceback comes before the line. A reader of stdout
    that goes away (`| head`) changes none of this.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    _repair_inherited_state()
    # At its end Python searches for unused objects, which takes a second among the libraries' million objects.
    atexit.register(gc.freeze)
    try:
        with _stdout_without_a_reader():
            result = command.main(arguments, prog_name=program, standalone_mode=False)
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except BaseException as error:
        if "--debug" in arguments:
            traceback.print_exc()
        if isinstance(error, Interrupted):
            return _say(str(error), error.exit_status)
        if isinstance(error, SameLoopError):
            return _say(str(error) and f"error: {error}", error.exit_status)
        if isinstance(error, click.NoSuchOption):
            if known := _known_by(error.option_name):
                return _say(f"error: {known}", SameLoopError.exit_status)
            near = get_close_matches(error.option_name, error.possibilities or (), cutoff=ALIKE)
            error = click.NoSuchOption(error.option_name, possibilities=near)
        if isinstance(error, click.ClickException):
            return _say(f"error: {error.format_message()}", SameLoopError.exit_status)
        if isinstance(error, (click.Abort, KeyboardInterrupt)):
            return _say("stopped", INTERRUPTED)
        if isinstance(error, Exception):
            text = f"{type(error).__name__}: {error}"
            return _say(f"error: this should not happen ({text[:300]}); please report what --debug shows", OUR_MISTAKE)
        raise
    return result if isinstance(result, int) else 0


def _repair_inherited_state() -> None:
    """Children whose end is ignored, as some supervisors leave it, and standard streams that are closed."""
    if in_main_thread() and signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # or their exit statuses are lost
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            # It gets the lowest number that is free, which is this one: no file of ours must have it.
            stream = Path(os.devnull).open("w" if number else "r")  # noqa: SIM115 - it stays open
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)


def _known_by(argument: str) -> str | None:
    """What an unknown option is called here, if people know it by another name."""
    name = argument.lstrip("-").replace("_", "-")
    if name in NOT_HERE:
        return f"there is no {argument}: SameLoop does nothing of the kind; leave it out"
    here = next((ours for ours, theirs in OTHER_NAMES.items() if name in theirs.split()), None)
    return here and f"there is no {argument}: it is called {here}"


class _Output(io.FileIO):
    """A file that accepts output after its reader is gone."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            # For this process and for those that it starts from now on.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            return super().write(data)
        except OSError as error:
            raise SameLoopError(f"cannot write the output: {error.strerror}") from error


@contextmanager
def _stdout_without_a_reader() -> Iterator[None]:
    """Let printing continue when stdout is a pipe without a reader, below every library that prints in its own way."""
    stdout = sys.stdout
    # Missing, or replaced, as in a notebook: not our pipe.
    if not isinstance(stdout, io.TextIOWrapper) or stdout is not sys.__stdout__:
        yield
        return
    stdout.flush()
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(_Output(stdout.fileno(), "w", closefd=False)),
        stdout.encoding,
        stdout.errors,
        line_buffering=stdout.line_buffering,
        write_through=stdout.write_through,
    )
    try:
        yield
    finally:
        try:
            sys.stdout.flush()
        finally:
            sys.stdout = stdout


def _say(message: str, exit_status: int) -> int:
    """Print one line on stderr, of several processes from the first only; nothing if the message is empty."""
    try:
        speaks = launched_world_size() == 1 or launched_rank() == 0
    except SameLoopError:
        speaks = True
    if message and speaks:
        print("sameloop: " + " ".join(message.split()), file=sys.stderr)
    return exit_status


def _metavar(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return "NAME"
    if annotation is float:
        return "FLOAT"
    if "dict" in str(annotation):
        return "JSON"
    return "INT" if "int" in str(annotation) else "TEXT"


def write_file(file: Path, content: str | bytes, new: bool = False, flag: str = "") -> None:
    """Write a file that the user has named, text as UTF-8; `flag` is the option that names another place.

    Raises:
        SameLoopError: it cannot be written, or `new` is set and the file exists.
    """
    how = f" with {flag}" if flag else ""
    try:
        with file.open("xb" if new else "wb") as opened:
            opened.write(content.encode() if isinstance(content, str) else content)
    except FileExistsError:
        raise SameLoopError(f"{file} exists already; it stays as it is: give another name{how}") from None
    except OSError as error:
        raise SameLoopError(f"cannot write {file} ({error.strerror}); give another place{how}") from None
