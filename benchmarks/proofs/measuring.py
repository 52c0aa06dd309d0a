"""Shared by the measurements: documents and tables, quiet runs, and the environment in words."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from shared.running.run import environment
from shared.starting.children import ROOT

DOCS = ROOT / "docs"
TEMPLATES = Path(__file__).with_name("templates")


def page(name: str, **values: object) -> str:
    """The text of a document: the template of this name with what was measured; in HTML, text is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        autoescape=jinja2.select_autoescape(),
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(name).render(values)


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


def where(comparison: Mapping[str, Any]) -> str:
    """`step 9: batch`, the first difference of a comparison; empty if there is none."""
    first = comparison["first_divergence"]
    return f"step {first['step']}: {first['quantity']}" if first else ""


def write_by_line(file: Path, content: Mapping[str, Any], name: str) -> None:
    """Write JSON with a line for each entry of the mapping `content[name]`, so that a change of one is one line."""
    head = json.dumps({other: value for other, value in content.items() if other != name}).removesuffix("}")
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in content[name].items())
    file.write_text(f'{head}, "{name}": {{\n{lines}\n}}}}\n', encoding="utf-8")
