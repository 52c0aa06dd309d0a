"""What the report shows for a user's own job, a Trainer script's, in place of the texts on our job."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from shared.recording.record import RunRecord


class OwnJob(NamedTuple):
    """The fields are for the template.

    Attributes:
        name: the script, and the model that it trains.
        sides: the names of the two files, the manual loop's first.
        is_script: whether a script's own Trainer is the second side.
        facts: less known things that Trainer does in this run, a sentence each.
        arguments: of `TrainingArguments`, those that the script sets, with their values.
        command: the command that makes the comparison again.
    """

    name: str
    sides: list[str]
    is_script: bool
    facts: list[str]
    arguments: dict[str, str]
    command: str

    @classmethod
    def of(cls, comparison: dict[str, Any], records: Sequence[RunRecord]) -> OwnJob | None:
        """The user's job; None if the job is ours."""
        if not all("job" in record.header for record in records):
            return None
        ours, theirs = (record.header["job"] for record in records)
        return cls(
            name=f"{Path(theirs['script']).name}: {theirs['model']}",
            sides=comparison["job"]["sides"],
            is_script=not theirs["is_loop"],
            facts=comparison["job"]["facts"],
            arguments=ours["set"] or theirs["set"],
            command=shlex.join(["sameloop", "compare", *_arguments(records)]),
        )


def _arguments(records: Sequence[RunRecord]) -> list[str]:
    """As `benchmarks.port.side.sides_of` takes them."""
    ours, theirs = (record.header["job"] for record in records)
    loops = [record.config.loop for record in records]
    arguments = ["--trainer", ours["script"]]
    if loops[0]:
        arguments += ["--loop", loops[0]]
    if not ours["is_loop"] or theirs["is_loop"]:
        arguments += ["--against", loops[1] or theirs["script"]]
    return [*arguments, *(["--", *ours["arguments"]] if ours["arguments"] else [])]
