"""What a job's own things are called: a sentence has `$loop` or `$Trainer` for it, filled in where it is shown."""

from __future__ import annotations

from string import Template
from typing import NamedTuple

from benchmarks.charts.data import NAMES, names_of
from shared.recording.record import RunRecord


class Words(NamedTuple):
    """The words of one job; without arguments those of our own.

    Attributes:
        settings: what sets the numbers.
        model: that is trained.
        Trainer: what stands on the other side: `Trainer`, or the name of a file where that is not clear from it.
        loop: what is held against it.
    """

    settings: str = "settings"
    model: str = "DistilBERT"
    Trainer: str = "Trainer"
    loop: str = "your loop"

    @classmethod
    def of(cls, manual: RunRecord, trainer: RunRecord) -> Words:
        """Those of a comparison of two runs."""
        ours, theirs = (record.header.get("job") for record in (manual, trainer))
        if ours and theirs:
            # A script against its loop has one Trainer, and that is what it is called.
            is_the_only_one = ours["is_loop"] and not theirs["is_loop"]
            name = "Trainer" if is_the_only_one else theirs["side"]
            return cls("arguments", theirs["model"], name, ours["side"])
        names = names_of(manual, trainer)
        # Two loops on our own job.
        return cls() if names is NAMES else cls(Trainer=names["trainer"], loop=names["manual"])

    def fill(self, sentence: str) -> str:
        """A sentence as it is shown; a `$` that names none of these stays."""
        return Template(sentence).safe_substitute(self._asdict())
