"""`docs/lesson.ipynb` run from top to bottom, and the page that shows it to those who do not run it.

Run by `make notebook-page`. It takes what the `test` extra installs: nbclient runs the cells, nbconvert makes their
HTML.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from shared.progress import announce
from shared.starting.children import ROOT

if TYPE_CHECKING:
    from nbformat import NotebookNode

NOTEBOOK = ROOT / "docs" / "lesson.ipynb"
PAGE = ROOT / "docs" / "lesson-notebook.html"
# What a cell may take, on a slow machine.
SECONDS = 600


def read_notebook() -> NotebookNode:
    """The notebook as it is in the repository.

    Raises:
        nbformat.ValidationError: it is no notebook of nbformat 4.5.
    """
    import nbformat

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    return notebook


def run_notebook(notebook: NotebookNode, folder: Path, until: str | None = None) -> NotebookNode:
    """Run the cells, their outputs in place.

    Args:
        notebook: what is run; it is changed.
        folder: where it runs.
        until: the id of the last cell; None: all of them.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell has failed.
    """
    from nbclient import NotebookClient

    if until is not None:
        last = [cell["id"] for cell in notebook.cells].index(until)
        notebook.cells = notebook.cells[: last + 1]
    # A bar that has been drawn a hundred times stands there once, as it was at the end.
    client = NotebookClient(
        notebook,
        timeout=SECONDS,
        kernel_name="python3",
        coalesce_streams=True,
        # No word about how the kernel is spoken to.
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(folder)}},
    )
    return client.execute()


def document_of(notebook: NotebookNode) -> str:
    """A notebook that has been run as one page that needs nothing else: no script, nothing from elsewhere."""
    import jinja2
    from nbconvert.exporters import HTMLExporter
    from pygments.formatters import HtmlFormatter

    # A cell that begins with %%writefile is Python below its first line, too.
    notebook.metadata.language_info["pygments_lexer"] = "python3"
    exporter = HTMLExporter(template_name="basic", exclude_input_prompt=True, exclude_output_prompt=True)
    exporter.anchor_link_text = ""
    body, _ = exporter.from_notebook_node(notebook)
    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    template = jinja2.Environment(loader=loader, autoescape=True).get_template("notebook.html")
    colours = HtmlFormatter(style="friendly").get_style_defs(".highlight")
    title = notebook.cells[0]["source"].splitlines()[0].removeprefix("# ")
    text = template.render(title=title, body=body, colours=colours)
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def main() -> int:
    """Run the notebook in a folder that is gone afterwards, and write the page."""
    announce(f"running {NOTEBOOK.name}, from top to bottom")
    with tempfile.TemporaryDirectory() as folder:
        notebook = run_notebook(read_notebook(), Path(folder))
    PAGE.write_text(document_of(notebook), encoding="utf-8")
    announce(f"written: {PAGE.relative_to(ROOT)}, {PAGE.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
