"""What the pages of measurements share: where they lie, runs without their own output, and under what was measured."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from typing import Any

from shared.running.run import environment
from shared.starting.children import ROOT

DOCS = ROOT / "docs"


def quietly(run: Callable[..., Any], *arguments: Any) -> Any:
    """Run without the loops' own output on the terminal."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return run(*arguments)


def where_measured() -> str:
    """With which releases, and on what."""
    found = environment()
    versions = ", ".join(f"{name} {found[name]}" for name in ("torch", "transformers", "accelerate", "datasets"))
    return f"Measured with {versions} on {found['device']}."
