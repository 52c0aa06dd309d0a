"""Importing: nothing of the user's by mistake, whatever lies in the current folder; and in less time."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from shared.starting.children import ROOT


@contextmanager
def own_imports() -> Iterator[None]:
    """Inside, nothing is imported from the current folder: a `random.py` there stays unread."""
    path = list(sys.path)
    here = os.getcwd()  # noqa: PTH109 - as sys.path has it
    sys.path[:] = [str(ROOT), *(entry for entry in path if entry and os.path.realpath(entry) != here)]
    try:
        yield
    finally:
        sys.path[:] = path


@contextmanager
def without_collector() -> Iterator[None]:
    """For imports: without the garbage collector's search among a million objects that are all in use."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
