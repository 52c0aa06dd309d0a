"""Run `docs/lesson.ipynb` from top to bottom, and make the page that shows it to those who do not run it.

Run by `make notebook-page`. It needs what the `test` extra installs: nbclient runs the cells, nbconvert makes their
HTML.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.proofs.measuring import DOCS, page
from shared.progress import announce
from shared.starting.children import ROOT

if TYPE_CHECKING:
    from nbformat import NotebookNode

NOTEBOOK = DOCS / "lesson.ipynb"
PAGE = DOCS / "lesson-notebook.html"
# The time limit of a cell, for a slow machine.
SECONDS = 600


def read_notebook() -> NotebookNode:
    """The notebook as it is in the repository.

    Raises:
        nbformat.ValidationError: it is not a notebook of nbformat 4.5.
    """
    import nbformat

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    return notebook


def run_notebook(notebook: NotebookNode, folder: Path, until: str | None = None) -> NotebookNode:
    """Run the cells in a folder, as far as the one with the id `until`, and store their outputs in the notebook.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell has failed.
    """
    from nbclient import NotebookClient

    if until is not None:
        last = [cell["id"] for cell in notebook.cells].index(until)
        notebook.cells = notebook.cells[: last + 1]
    # With `coalesce_streams` a progress bar is shown once, as it was at the end.
    client = NotebookClient(
        notebook,
        timeout=SECONDS,
        kernel_name="python3",
        coalesce_streams=True,
        # No messages about the connection to the kernel.
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(folder)}},
    )
    return client.execute()


def document_of(notebook: NotebookNode) -> str:
    """A notebook that has been run, as a self-contained HTML page without scripts."""
    from nbconvert.exporters import HTMLExporter
    from pygments.formatters import HtmlFormatter

    # A cell that begins with %%writefile is Python below its first line, too.
    notebook.metadata.language_info["pygments_lexer"] = "python3"
    exporter = HTMLExporter(template_name="basic", exclude_input_prompt=True, exclude_output_prompt=True)
    exporter.anchor_link_text = ""
    body, _ = exporter.from_notebook_node(notebook)
    colours = HtmlFormatter(style="friendly").get_style_defs(".highlight")
    title = notebook.cells[0]["source"].splitlines()[0].removeprefix("# ")
    text = page("notebook.html", title=title, body=body, colours=colours)
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def main() -> int:
    """Run the notebook in a temporary folder, and write the page."""
    announce(f"running {NOTEBOOK.name}, from top to bottom")
    with tempfile.TemporaryDirectory() as folder:
        notebook = run_notebook(read_notebook(), Path(folder))
    PAGE.write_text(document_of(notebook), encoding="utf-8")
    announce(f"written: {PAGE.relative_to(ROOT)}, {PAGE.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
