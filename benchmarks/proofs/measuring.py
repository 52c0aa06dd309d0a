"""Shared by the measurements: the folder of documents and tables, quiet runs, and the environment in words."""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from shared.running.run import environment
from shared.starting.children import ROOT

DOCS = ROOT / "docs"


def write_table(name: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write `docs/data/NAME.csv`: a table with a row per case, which a code host displays and pandas reads."""
    with (DOCS / "data" / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([columns, *rows])


def quietly(run: Callable[..., Any], *arguments: Any) -> Any:
    """Run without the loops' own output on the terminal."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return run(*arguments)


def where_measured() -> str:
    """A sentence with the releases and the device of the measurement."""
    facts = environment()
    versions = ", ".join(f"{name} {facts[name]}" for name in ("torch", "transformers", "accelerate", "datasets"))
    return f"Measured with {versions} on {facts['device']}."
