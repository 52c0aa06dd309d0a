"""docs/gallery.md, its chart and the ladder's picture: `make gallery-page` measures them anew."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.mistakes.catalogue import MISTAKES, UNSEEN
from shared.running.children import ROOT

DOCS = ROOT / "docs"


def main() -> int:
    """Run the gallery and the ladder on the tiny preset, and write the page."""
    from rich.console import Console

    from benchmarks.mistakes.ladder import ladder, ladder_config, order_from
    from benchmarks.mistakes.ladder_chart import ladder_chart
    from benchmarks.mistakes.show import show_all

    with TemporaryDirectory() as folder:
        show_all("tiny", 5, 2, Path(folder) / "gallery", Console(highlight=False))
        found = ladder(ladder_config("tiny"), order_from(None), Path(folder) / "ladder")
        ladder_chart(found).save(Path(folder) / "ladder" / "ladder.png")
        gallery = json.loads((Path(folder) / "gallery" / "gallery.json").read_text(encoding="utf-8"))
        shutil.copy(Path(folder) / "gallery" / "gallery.png", DOCS / "gallery.png")
        shutil.copy(Path(folder) / "ladder" / "ladder.png", DOCS / "ladder.png")
        alt = (Path(folder) / "ladder" / "ladder.alt.txt").read_text(encoding="utf-8")
    (DOCS / "gallery.md").write_text("\n".join(page(gallery, " ".join(alt.split()))) + "\n", encoding="utf-8")
    return 0


def page(gallery: dict[str, Any], ladder_alt: str) -> Iterator[str]:
    """The page's lines.

    Args:
        gallery: the content of `gallery.json`.
        ladder_alt: the ladder's picture in words.
    """
    config, rows = gallery["config"], gallery["mistakes"]
    right = ", ".join(f"{100 * run['accuracy']:.1f}" for run in rows[0]["right"])
    yield "# What a mistake costs"
    yield ""
    yield (
        f"{len(rows)} mistakes that people made in loops of their own, each planted in the minimal page and trained "
        f"with {len(rows[0]['right'])} seeds: the `{config['preset']}` model on {config['train_size']:,} Rotten "
        f"Tomatoes snippets, accuracy on {config['eval_size']} others (accumulated are 2 batches of half the "
        f"size). The right loop: {right} %. Measured by `make "
        "gallery-page`; `sameloop break NAME` shows one, `--preset quick` on the larger model."
    )
    yield ""
    quiet = sum("nothing" in row["noticed"] for row in rows)
    yield (
        f"**{quiet} of {len(rows)} cost nothing that one would notice here.** That is the lesson: a loop that learns "
        "is no proof that it is right. What it costs elsewhere, in a longer run, with a larger model or another "
        "learning rate, these figures do not say."
    )
    yield ""
    yield "![A row per mistake: its accuracy against the right loop's; the table has the figures](gallery.png)"
    yield ""
    yield "| mistake | accuracy, points | what one notices without a check | `sameloop check` says |"
    yield "|---|---|---|---|"
    for row in rows:
        mistake, check = MISTAKES[row["name"]], row["check"]
        where = f", step {check['step']}" if check["step"] else ""
        points = f"{100 * row['accuracy_difference']:+.1f}"
        said = f"{check['item']}{where}: {check['cause']}"
        yield f"| {mistake.what} (`{mistake.name}`) | {points} | {row['noticed']} | {said} |"
    yield ""
    yield "## Where they happened"
    yield ""
    for mistake in MISTAKES.values():
        yield f"- {mistake.what}: {mistake.source}"
    yield ""
    yield "## What a check does not see"
    yield ""
    for what, why in UNSEEN.items():
        yield f"- {what}: {why}"
    yield ""
    yield "## The ladder"
    yield ""
    yield (
        "`sameloop ladder` goes from the loop that courses teach to `Trainer`, one repair at a time; the first "
        "difference moves to the right until there is none."
    )
    yield ""
    yield f"![{ladder_alt}](ladder.png)"


if __name__ == "__main__":
    sys.exit(main())
