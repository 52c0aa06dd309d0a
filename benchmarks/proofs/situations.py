"""What real people bring, tried on the product: `make situations-table` writes docs/situations.md.

Each situation was met by somebody in public, and its origin is given. It is made small here and run through the
command line: either the run comes to its end (handled), or one line says what is wrong and what to do (status 2).
Anything else is a fault of SameLoop's.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.proofs.odd.csv_files import CSV_FILES
from benchmarks.proofs.odd.models import MODELS
from benchmarks.proofs.odd.other_files import OTHER_FILES
from benchmarks.proofs.odd.reviews import REVIEWS
from benchmarks.proofs.odd.running import EXPECTED, HANDLED, ONE_LINE, Outcome, tried
from benchmarks.proofs.odd.settings import SETTINGS
from shared.errors import shown
from shared.starting.children import ROOT

DOCS = ROOT / "docs"
GITHUB = "https://github.com/"
# The whole table, of which the document shows what has an origin.
TABLE = (*REVIEWS, *CSV_FILES, *OTHER_FILES, *MODELS, *SETTINGS)
SITUATIONS = tuple(odd for odd in TABLE if odd.origin)


def page(outcomes: Sequence[Outcome], seconds: float) -> str:
    """docs/situations.md.

    Args:
        outcomes: what came of each of `SITUATIONS`.
        seconds: what all of them took.
    """
    tried_ones = list(zip(SITUATIONS, outcomes, strict=True))
    handled = sum(outcome.what == HANDLED for outcome in outcomes)
    lined = sum(outcome.what == ONE_LINE for outcome in outcomes)
    wrong = sum(outcome.what != EXPECTED[odd.status] for odd, outcome in tried_ones)
    rows = [
        f"| {odd.what} | [{'/'.join(odd.origin.split('/')[:2])} {odd.origin.rpartition('/')[2]}]({GITHUB}{odd.origin}"
        f") | {outcome.what if outcome.what == EXPECTED[odd.status] else f'**{outcome.what}**'} | "
        f"{_cell(outcome.line)} |"
        for odd, outcome in tried_ones
    ]
    return "\n".join(
        [
            "# What people bring",
            "",
            f"{len(outcomes)} situations that people met in public, each made small and run through the command line: "
            f"{handled} are handled, {lined} end in one line and exit status 2, {wrong} in anything else. Made by "
            f"`make situations-table`, which took {seconds:.0f} s.",
            "",
            "The Hub's errors are raised in its place, in the words of the installed `datasets`. What is said is "
            "shown without the folder's path.",
            "",
            "| situation | origin | outcome | what is said of it |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )


def _cell(line: str) -> str:
    return shown(line, 300).replace("|", "\\|").replace("<", "&lt;")


def everything() -> list[Outcome]:
    """What comes of all situations, one after the other."""
    outcomes = []
    for odd in SITUATIONS:
        with tempfile.TemporaryDirectory(prefix="situation-") as folder:
            outcomes.append(tried(odd, Path(folder)))
        print(f"{odd.what}: {outcomes[-1].what}", file=sys.stderr, flush=True)
    return outcomes


if __name__ == "__main__":
    # It is read when `datasets` is imported.
    if os.environ.get("HF_HUB_OFFLINE") != "1":
        sys.exit("set HF_HUB_OFFLINE=1, as `make situations-table` does: the table is of a machine without a network")
    started = time.perf_counter()
    found = everything()
    (DOCS / "situations.md").write_text(page(found, time.perf_counter() - started), encoding="utf-8")
    sys.exit(any(outcome.what != EXPECTED[odd.status] for odd, outcome in zip(SITUATIONS, found, strict=True)))
