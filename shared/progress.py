"""Progress messages, printed on stderr, so that stdout keeps the results."""

from __future__ import annotations

import os
import sys


def announce(doing: str) -> None:
    """Print what is being done now, for example `tokenizing 768 reviews`; of several processes the first prints."""
    if os.environ.get("RANK", "0") == "0":
        print(f"· {doing}", file=sys.stderr, flush=True)


def is_interactive() -> bool:
    """Whether progress bars make sense: only on a terminal."""
    return sys.stderr.isatty()
