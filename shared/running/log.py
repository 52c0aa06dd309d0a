"""What a loop's `train` returns: its log, checked."""

from __future__ import annotations

import inspect
import math
from typing import Any

from shared.errors import ScriptError
from shared.recording.schema import LOG_LINE, problem
from shared.running.script import LoopScript


def checked_log(returned: Any, script: LoopScript) -> list[dict[str, Any]]:
    """What a script's `train` returned, as a list of log lines in types that JSON supports.

    Raises:
        SameLoopError: it is neither a list of dictionaries of numbers nor nothing.
    """
    expected = f"{script.name}: its train must return a list of log lines, as [{{'eval_loss': 0.6}}], or nothing, not "
    if returned is None:
        return []
    if inspect.isgenerator(returned):
        raise ScriptError(
            f"{script.name}: its train has a `yield`, so it is a generator and nothing ran; return a list"
        )
    if not isinstance(returned, list) or not all(isinstance(line, dict) for line in returned):
        raise ScriptError(expected + f"{type(returned).__name__} {str(returned)[:80]!r}")
    log = []
    for line in returned:
        # A tensor or a number of numpy's is as good as a float.
        plain = {str(name): value.item() if _is_scalar(value) else value for name, value in line.items()}
        for name, value in plain.items():
            if not isinstance(value, (int, float, str, type(None))):
                raise ScriptError(expected + f"a line in which {name} is of type {type(value).__name__}")
        if problem(LOG_LINE, plain):
            name = next(name for name in plain if problem(LOG_LINE, {name: plain[name]}))
            raise ScriptError(expected + f"a line in which {name} is {plain[name]!r}")
        log.append(plain)
    return log


def _is_scalar(value: Any) -> bool:
    return hasattr(value, "item") and math.prod(getattr(value, "shape", [0])) == 1
