"""Judge in a separate process that has its own limits, because the recording may come from anybody."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.check.workshop import Workshop
from shared.starting.launch import Family, ending

# Judging a right loop takes a second, and 250 MB in addition to the imports.
JUDGE_SECONDS, JUDGE_MB = 120, 2000
# A result has about 20,000 characters.
LONGEST_RESULT = 4_000_000
TOO_MUCH = "its recording is larger than can be judged"


class JudgeError(Exception):
    """The judge ended without a result: that is a bug of SameLoop."""


def judge_in_process(workshop: Workshop, options: Mapping[str, Any], folder: Path) -> dict[str, Any] | str:
    """Judge a recording; return the fields of the result, or the reason why it cannot be judged.

    Args:
        workshop: starts the process.
        options: the arguments of `judge_here`.
        folder: holds its result until it is read.

    Raises:
        JudgeError: with the end of what the process printed.
    """
    file, output_file = folder / "result", folder / "output"
    with file.open("wb") as result, output_file.open("wb") as output, Family() as family:
        function = ("benchmarks.check.check", "judge_here")
        options = {**options, "memory_mb": JUDGE_MB}
        process = workshop.start(family, function, options, folder, output.fileno(), result.fileno())
        with suppress(subprocess.TimeoutExpired):
            process.wait(JUDGE_SECONDS)
        status = process.poll()
    if status is None or status < 0:
        return f"{TOO_MUCH} ({'the judge was not done in time' if status is None else ending(status)})"
    if status or file.stat().st_size > LONGEST_RESULT:
        raise JudgeError(output_file.read_text(encoding="utf-8", errors="replace")[-2000:])
    return json.loads(file.read_text(encoding="utf-8"))
