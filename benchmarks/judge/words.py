"""What the parts of a job are called: a sentence contains `$loop` or `$Trainer`, filled in where it is shown."""

from __future__ import annotations

from string import Template
from typing import NamedTuple

from benchmarks.charts.data import NAMES, names_of
from shared.recording.record import RunRecord


class Words(NamedTuple):
    """The words of one job; without arguments, those of our own job.

    Attributes:
        settings: what the settings are called.
        model: the model that is trained.
        Trainer: the other side: `Trainer`, or the name of a file where `Trainer` would be ambiguous.
        loop: what is compared with it.
    """

    settings: str = "settings"
    model: str = "DistilBERT"
    Trainer: str = "Trainer"
    loop: str = "your loop"

    @classmethod
    def of(cls, manual: RunRecord, trainer: RunRecord) -> Words:
        """The words for a comparison of two runs."""
        ours, theirs = (record.header.get("job") for record in (manual, trainer))
        if ours and theirs:
            # A script that is compared with its loop has one Trainer, so it is called `Trainer`.
            is_the_only_one = ours["is_loop"] and not theirs["is_loop"]
            name = "Trainer" if is_the_only_one else theirs["side"]
            return cls("arguments", theirs["model"], name, ours["side"])
        names = names_of(manual, trainer)
        # Two loops on our own job.
        return cls() if names is NAMES else cls(Trainer=names["trainer"], loop=names["manual"])

    def fill(self, sentence: str) -> str:
        """A sentence as it is shown; a `$` that names none of these words stays."""
        return Template(sentence).safe_substitute(self._asdict())
