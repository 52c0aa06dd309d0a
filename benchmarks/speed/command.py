"""`sameloop speed`: both loops in lock-step, or the lesson on what each setting gains."""

from __future__ import annotations

from typing import Any

import click

from benchmarks.statistics import FEWEST_STEPS
from shared.errors import SameLoopError
from shared.running.command import CONTEXT, SettingCommand, config_from, debug_option, setting_options
from shared.running.run import default_output_dir


def _speed(steps: int, lesson: bool, repeats: int, **parameters: Any) -> None:
    source_of = click.get_current_context().get_parameter_source
    for name, needs in (("steps", "the two loops in lock-step: leave out --lesson"), ("repeats", "--lesson: add it")):
        if (name == "steps") == lesson and source_of(name) is click.core.ParameterSource.COMMANDLINE:
            raise SameLoopError(f"--{name} is for {needs}, or leave out --{name}")
    if not lesson:
        from benchmarks.speed.lockstep import print_speed

        print_speed(config_from(parameters), steps)
        return
    from rich.console import Console

    from benchmarks.speed.lesson import LESSON, PICTURE, lesson_config
    from benchmarks.speed.lesson_chart import speed_chart
    from benchmarks.speed.lesson_table import print_lesson
    from benchmarks.speed.measure import measure

    source = click.core.ParameterSource.COMMANDLINE
    config, lengths = lesson_config({name: value for name, value in parameters.items() if source_of(name) is source})
    folder = default_output_dir(config.preset, "speed-lesson")
    results = measure(config, lengths, repeats, folder)
    print_lesson(results, Console(highlight=False))
    LESSON.write(folder, results)
    picture = speed_chart(results).save(folder / PICTURE)
    click.echo(f"picture and speed.json: {picture}", err=True)


speed_command = SettingCommand(
    "speed",
    params=[
        debug_option(),
        click.Option(
            ["--steps"],
            type=click.IntRange(min=FEWEST_STEPS),
            # With the quick preset, this takes about three minutes on 2 cores, and shows a difference of 1.5 %.
            default=150,
            metavar="INT",
            help="how many steps of each loop are timed, after the first  [default: 150]",
        ),
        click.Option(
            ["--lesson"],
            is_flag=True,
            help="instead: the manual loop with one setting after the other, at 128 and 512 tokens or --max-length; "
            "what each gains at the same work. 25 to 60 minutes on 2 slow cores; run it again to continue",
        ),
        click.Option(
            ["--repeats"],
            type=click.IntRange(min=1),
            default=1,
            metavar="INT",
            help="with --lesson: rounds, each with every run once; medians are shown  [default: 1]",
        ),
        *setting_options(),
    ],
    callback=_speed,
    help="Time both loops in lock-step, one step of each in turn: the ratio with its 95 % interval, peak memory, "
    "and the flight recorder's own cost.",
    context_settings=CONTEXT,
)
