"""SameLoop from Python: the one name to import in a notebook or a script.

    import sameloop

    comparison = sameloop.compare(preset="tiny", learning_rate=1e-3)
    comparison["verdict"]  # "identical"

Every dial of the command line is an argument, under its own name. What runs, runs in processes of its own, which
import nothing from the folder you are in: a `shared` folder or a `datasets.py` of yours is no matter to them.
"""

from __future__ import annotations

import os
import sys

_ROOT = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - pathlib comes later
_PATH = list(sys.path)
# As long as SameLoop's own modules are imported, nothing is imported from the current folder.
sys.path[:] = [_ROOT, *(entry for entry in _PATH if entry and os.path.realpath(entry) != os.getcwd())]  # noqa: PTH109
try:
    import json
    import subprocess
    from pathlib import Path
    from typing import Any

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

    from shared.children import sameloop_argv
    from shared.config import RunConfig
    from shared.errors import SameLoopError
    from shared.folder import COMPARISON_FILE
    from shared.record import RunRecord
    from shared.run import default_output_dir
finally:
    sys.path[:] = _PATH

__all__ = ["SameLoopError", "compare", "manual", "trainer"]


def compare(output_dir: str | Path | None = None, **dials: Any) -> dict[str, Any]:
    """Run both loops and compare them, as `sameloop compare` does.

    Args:
        output_dir: where the comparison is kept; None: `runs/<preset>`.
        dials: `preset` and any dial, as `learning_rate=1e-3`.

    Returns:
        The content of `comparison.json`: `verdict`, `first_divergence`, `max_abs_diff` and more.

    Raises:
        SameLoopError: a dial is wrong, or a loop did not finish; the line that says so is printed, too.
    """
    config = RunConfig.build(**dials)
    folder = Path(output_dir) if output_dir is not None else default_output_dir(config.preset)
    _run("compare", config, folder, (0, 1))
    return json.loads((folder / COMPARISON_FILE).read_text(encoding="utf-8"))


def manual(output_dir: str | Path | None = None, **dials: Any) -> RunRecord:
    """Run the loop by hand, as `sameloop manual` does, and return its record; arguments and errors as `compare`."""
    return _loop("manual", output_dir, dials)


def trainer(output_dir: str | Path | None = None, **dials: Any) -> RunRecord:
    """Run `Trainer`'s loop, as `sameloop trainer` does, and return its record; arguments and errors as `compare`."""
    return _loop("trainer", output_dir, dials)


def _loop(loop: str, output_dir: str | Path | None, dials: dict[str, Any]) -> RunRecord:
    config = RunConfig.build(**dials)
    folder = Path(output_dir) if output_dir is not None else default_output_dir(config.preset, loop)
    _run(loop, config, folder, (0,))
    return RunRecord.read(folder)


def _run(command: str, config: RunConfig, folder: Path, answers: tuple[int, ...]) -> None:
    """Run a command, its output shown where it is run; `answers` are the exit statuses of a run that is complete."""
    line = sameloop_argv(command, *config.flags(), "--output-dir", str(folder))
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8")
    last = ""
    with process:
        for text in process.stdout or ():
            # Through Python's own stdout, which a notebook shows; a child's it does not.
            print(text, end="")
            last = text.strip() or last
    if process.returncode not in answers:
        raise SameLoopError(last.removeprefix("sameloop: ").removeprefix("error: "))
