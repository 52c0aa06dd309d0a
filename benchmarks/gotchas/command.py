"""`sameloop gotcha`: print the list, or run one gotcha."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchmarks.gotchas.base import Gotcha
from benchmarks.gotchas.gpu import GPU
from benchmarks.gotchas.labels import LABELS
from benchmarks.gotchas.mapping import MAPPING
from benchmarks.gotchas.renamed import RENAMED
from benchmarks.gotchas.size import PICTURE, SEEDS, SIZE, SIZE_KEPT, SIZES, Size, size_config, size_folder, sizes_from
from benchmarks.gotchas.sorted_subset import SUBSET
from benchmarks.gotchas.weights import WEIGHTS
from shared.config import option
from shared.determinism import use_one_device
from shared.errors import SameLoopError
from shared.running.command import CONTEXT, debug_option
from shared.running.run import default_output_dir
from shared.sources.hub import go_offline_if_unreachable

if TYPE_CHECKING:
    from rich.console import Console

GOTCHAS = {gotcha.name: gotcha for gotcha in (SIZE, GPU, MAPPING, LABELS, RENAMED, WEIGHTS, SUBSET)}


def gotcha_named(name: str) -> Gotcha:
    """One of `GOTCHAS`.

    Raises:
        SameLoopError: there is no gotcha of this name.
    """
    if name not in GOTCHAS:
        near = difflib.get_close_matches(name, GOTCHAS, 1)
        raise SameLoopError(
            f"there is no gotcha {name!r}{f': {near[0]}?' if near else ''}; choose one of {', '.join(GOTCHAS)}"
        )
    return GOTCHAS[name]


def print_list(console: Console) -> None:
    """Print every gotcha's name and title."""
    from rich.table import Table

    console.print(f"{len(GOTCHAS)} gotchas of the fine-tuning tutorial, each run by sameloop gotcha NAME\n")
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for gotcha in GOTCHAS.values():
        table.add_row(gotcha.name, gotcha.title)
    console.print(table)


def print_gotcha(gotcha: Gotcha, result: Any, console: Console) -> None:
    """Print what the tutorial says, the result, and the sentence to take home."""
    from rich.text import Text

    console.print(Text(f"{gotcha.name}: {gotcha.title}", "bold"))
    console.print(Text(f"The tutorial: {gotcha.tutorial}"))
    console.print()
    for part in gotcha.printed(result):
        console.print(part)
    console.print()
    console.print(Text.assemble(("Take home: ", "bold"), gotcha.lesson))


def write_size(curve: Size, folder: Path) -> Path:
    """Write `size.json`, and the picture with its text, to a folder that is made if absent; return the picture.

    Raises:
        SameLoopError: it cannot be written.
    """
    from benchmarks.gotchas.size_chart import size_chart

    try:
        folder.mkdir(parents=True, exist_ok=True)
        SIZE_KEPT.write(folder, curve)
        return size_chart(curve).save(folder / PICTURE)
    except OSError as error:
        raise SameLoopError(
            f"--output-dir {folder}: cannot be written ({error.strerror}); name another folder"
        ) from None


@click.command("gotcha", context_settings=CONTEXT)
@click.argument("name", required=False, metavar="[NAME]")
@click.option("--preset", default="tiny", show_default=True, metavar="NAME", help="of `size`: what is trained")
@click.option(
    "--seeds", type=click.IntRange(min=1), default=SEEDS, show_default=True, help="of `size`: trainings of each"
)
@click.option(
    "--sizes",
    default=",".join(map(str, SIZES)),
    show_default=True,
    metavar="INT,INT,...",
    help="of `size`: how many reviews are trained on",
)
@click.option(
    "--output-dir",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help=f"of `size`: where its numbers and its chart go  [default: {default_output_dir('gotcha', 'size')}]",
)
def gotcha_command(name: str | None, preset: str, seeds: int, sizes: str, output_dir: Path | None) -> None:
    """List what the fine-tuning tutorial warns of, or should; with NAME, run one here and show it."""
    from rich.console import Console

    console = Console(highlight=False)
    gotcha = gotcha_named(name) if name else None
    if gotcha is not SIZE:
        source_of = click.get_current_context().get_parameter_source
        for parameter in ("preset", "seeds", "sizes", "output_dir"):
            if source_of(parameter) is click.core.ParameterSource.COMMANDLINE:
                raise SameLoopError(f"{option(parameter)} is for `sameloop gotcha size` alone; leave it out")
    if gotcha is None:
        print_list(console)
        return
    use_one_device()
    if gotcha is not SIZE:
        print_gotcha(gotcha, gotcha.run(), console)
        return
    wanted = sizes_from(sizes)
    go_offline_if_unreachable(size_config(preset, wanted))
    folder = size_folder(output_dir or default_output_dir("gotcha", "size"))
    result = SIZE.run(preset, wanted, seeds)
    print_gotcha(SIZE, result, console)
    click.echo(f"the chart: {write_size(result, folder)}", err=True)


gotcha_command.params.append(debug_option())
