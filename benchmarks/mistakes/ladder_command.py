"""`sameloop ladder`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from benchmarks.charts.styles import STYLE_NAMES
from benchmarks.mistakes.ladder import LADDER_STEPS, SETTINGS, ladder_config, order_from, print_ladder, write_ladder
from shared.running.command import CONTEXT, DIVERGED, SettingCommand, run_options, setting_options
from shared.running.run import default_output_dir
from shared.running.surroundings import settle


def _ladder(
    order: str | None,
    accelerate: bool,
    style: str,
    output_dir: Path | None,
    overwrite_output_dir: bool,
    **parameters: Any,
) -> int:
    steps = order_from(order)
    settings = {name: value for name, value in parameters.items() if value is not None}
    config = settle(ladder_config(**settings))
    output_dir = output_dir or default_output_dir(config.preset, "ladder")
    result = write_ladder(config, steps, output_dir, overwrite_output_dir, accelerate)

    from rich.console import Console

    from benchmarks.mistakes.ladder_chart import ladder_chart

    ladder_chart(result, style).save(output_dir / "ladder.png")
    print_ladder(result, Console(highlight=False))
    click.echo(f"picture, scripts, both runs of the last row and ladder.json in {output_dir}", err=True)
    return 0 if result.rows[-1].is_exact else DIVERGED


ladder_command = SettingCommand(
    "ladder",
    params=[
        *run_options(),
        click.Option(
            ["--order"],
            metavar="NAME,NAME,...",
            help=f"the order of the fixes; those left out come last  [default: {', '.join(LADDER_STEPS)}]",
        ),
        click.Option(["--accelerate"], is_flag=True, help="from the course's loop with accelerate"),
        click.Option(
            ["--style"], type=click.Choice(STYLE_NAMES), default="slide", show_default=True, help="of the picture"
        ),
        *(option for option in setting_options() if option.name in SETTINGS),
    ],
    callback=_ladder,
    help="From the loop that courses teach to Trainer, one fix at a time: up to which step are the two equal? "
    "Exit status: 0 identical with every fix, 1 diverged, 2 wrong input.",
    context_settings=CONTEXT,
)
