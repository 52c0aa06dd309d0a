"""Inputs of real people, tried on the product: `make situations-table` writes docs/situations.md.

Somebody met each situation in public, and its origin is given. It is made small here and run through the command line:
either the run finishes (handled), or one line says what is wrong and what to do (status 2). Anything else is a fault
of SameLoop.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.proofs.measuring import DOCS, page, write_table
from benchmarks.proofs.odd.csv_files import CSV_FILES
from benchmarks.proofs.odd.models import MODELS
from benchmarks.proofs.odd.other_files import OTHER_FILES
from benchmarks.proofs.odd.reviews import REVIEWS
from benchmarks.proofs.odd.running import EXPECTED, HANDLED, ONE_LINE, Outcome, try_input
from benchmarks.proofs.odd.settings import SETTINGS
from shared.errors import shown

GITHUB = "https://github.com/"
# The whole table; the document shows the situations that have an origin.
TABLE = (*REVIEWS, *CSV_FILES, *OTHER_FILES, *MODELS, *SETTINGS)
SITUATIONS = tuple(odd for odd in TABLE if odd.origin)


def document(outcomes: Sequence[Outcome], seconds: float) -> str:
    """docs/situations.md, of the outcome of each of `SITUATIONS`, which is written to docs/data/situations.csv."""
    handled = sum(outcome.kind == HANDLED for outcome in outcomes)
    lined = sum(outcome.kind == ONE_LINE for outcome in outcomes)
    wrong = sum(outcome.kind != EXPECTED[odd.status] for odd, outcome in zip(SITUATIONS, outcomes, strict=True))
    rows = [
        (odd.description, f"{GITHUB}{odd.origin}", outcome.kind, shown(outcome.line, 300))
        for odd, outcome in zip(SITUATIONS, outcomes, strict=True)
    ]
    write_table("situations", ("situation", "origin", "outcome", "what is said"), rows)
    return page(
        "situations.md", outcomes=outcomes, handled=handled, lined=lined, wrong=wrong, seconds=f"{seconds:.0f}"
    )


if __name__ == "__main__":
    # It is read when `datasets` is imported.
    if os.environ.get("HF_HUB_OFFLINE") != "1":
        sys.exit("set HF_HUB_OFFLINE=1, as `make situations-table` does: the table is of a machine without a network")
    started = time.perf_counter()
    outcomes = []
    for odd in SITUATIONS:
        with tempfile.TemporaryDirectory(prefix="situation-") as folder:
            outcomes.append(try_input(odd, Path(folder)))
        print(f"{odd.description}: {outcomes[-1].kind}", file=sys.stderr, flush=True)
    (DOCS / "situations.md").write_text(document(outcomes, time.perf_counter() - started), encoding="utf-8")
    sys.exit(any(outcome.kind != EXPECTED[odd.status] for odd, outcome in zip(SITUATIONS, outcomes, strict=True)))
