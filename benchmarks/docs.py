"""The parts of the docs that are made, not written: the table of dials, and every picture. Run by `make docs`.

The pictures come from the comparison in `runs/quick`, the report's from the browser that `make browser` installs.
"""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path

from shared.config import meaning, option, sections, values_by_preset
from shared.progress import announce

ROOT = Path(__file__).parent.parent
README, DOCS = ROOT / "README.md", ROOT / "docs"
BEGIN, END = "<!-- dials: made by `make docs` -->", "<!-- /dials -->"
RUN = Path("runs") / "quick"
SIZE = {"width": 1280, "height": 860}


def dials_table() -> str:
    """Every dial in a Markdown table, from its declaration."""
    rows = ["| dial | meaning | default; presets that differ |", "|---|---|---|"]
    for section, names in sections().items():
        rows.append(f"| **{section}** | | |")
        rows += [f"| `{option(name)}` | {meaning(name)} | {values_by_preset(name)} |" for name in names]
    return "\n".join(rows)


def with_dials(text: str) -> str:
    """The README's text with the table between its two markers made anew."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{dials_table()}\n{END}{after}"


def draw_charts(run: Path, folder: Path) -> dict[str, str]:
    """Every kind of chart of `run` as an SVG in `folder`; returns the alt texts by kind."""
    from benchmarks.plot import KINDS, draw_gathered, gather

    folder.mkdir(parents=True, exist_ok=True)
    gathered, found = gather([run]), {}
    for kind in KINDS:
        picture = draw_gathered(gathered, kind, "slide", "svg")
        (folder / f"{kind}.svg").write_bytes(picture.content)
        found[kind] = " ".join(picture.alt.split())
    return found


def take_screenshots(report: Path, folder: Path) -> None:
    """The report's beginning in light, and its code with the clip lit up in dark, as `report.png`, `report-code.png`.

    Needs playwright and a Chromium in the path.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport=SIZE, color_scheme="light")
        page.goto(report.resolve().as_uri())
        page.screenshot(path=folder / "report.png")
        page.emulate_media(color_scheme="dark")
        page.locator("#code-title").scroll_into_view_if_needed()
        page.locator('#pane-manual .piece[data-phase="clip"] button').click()
        page.evaluate("document.getElementById('code').scrollIntoView()")
        page.screenshot(path=folder / "report-code.png")
        browser.close()


def xray_text() -> str:
    """The x-ray of the quick preset's first step, as the terminal shows it."""
    from rich.console import Console

    from benchmarks.xray import print_step, xray
    from shared.config import RunConfig

    shown = Console(file=io.StringIO(), width=100, highlight=False)
    print_step(xray(RunConfig.build("quick")), shown)
    return "\n".join(line.rstrip() for line in shown.file.getvalue().rstrip().splitlines())


def lesson(alt_texts: dict[str, str], step: str) -> str:
    """`docs/lesson.md`: what a comparison shows, in pictures."""
    parts = [
        "# The lesson in pictures",
        "<!-- made by `make docs` -->",
        "Everything here was made from one run of `make compare` (the quick preset: 512 + 256 IMDB reviews).",
        "## The report",
        "`report.html`, at the end of every comparison. Its beginning, and the code with the clip pointed at:",
        "![The report's beginning: the verdict, six differences of exactly 0.0, and both loops' results](report.png)",
        "![The report's code: both pages side by side, the clip of the gradients lit up on both](report-code.png)",
        "## One step, x-rayed",
        "From `sameloop xray`: by hand and inside the installed `Trainer`.",
        f"```text\n{step}\n```",
        "## The charts",
        "`sameloop plot runs/quick --kind KIND --style slide --format svg`:",
    ]
    for kind, alt in alt_texts.items():
        parts += [f"### {kind}", f"![{alt.replace('[', '(').replace(']', ')')}](charts/{kind}.svg)"]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Write the table into the README and the pictures into `docs/`."""
    README.write_text(with_dials(README.read_text(encoding="utf-8")), encoding="utf-8")
    announce(f"table of dials written to {README.name}")
    if not (RUN / "report.html").exists():
        sys.exit(f"no {RUN}/report.html: run `make compare` first, the pictures are made from it")
    shutil.copy(RUN / "comparison.png", DOCS / "comparison.png")
    take_screenshots(RUN / "report.html", DOCS)
    (DOCS / "lesson.md").write_text(lesson(draw_charts(RUN, DOCS / "charts"), xray_text()), encoding="utf-8")
    announce(f"pictures and lesson.md written to {DOCS.name}/")


if __name__ == "__main__":
    main()
