"""A comparison in the words of its own job: examples in place of reviews, and the names of the two files."""

from __future__ import annotations

import re
from typing import Any

from shared.recording.record import RunRecord

# In our job's words, and in any job's.
WORDS = (
    (r"\breviews\b", "examples"),
    (r"\breview\b", "example"),
    (r"\bdials\b", "arguments"),
    (r" that DistilBERT divides", " that the model divides"),
    (r"; take shuffle\(seed=slice_seed\)\.select\(range\(train_size\)\), and no example of the evaluation", ""),
)
# What is said of our dials alone.
OURS = ("max_length ", "not compared: the saved models' config.json")


def worded(comparison: dict[str, Any], records: list[RunRecord], names: list[str]) -> dict[str, Any]:
    """The comparison with its sentences put into the job's words; numbers and codes stay.

    Args:
        comparison: as `compare_runs` gives it.
        records: of the two sides.
        names: of the two sides.
    """
    if "job" not in records[0].header:
        return _renamed(comparison, names, is_ours=True)
    kept = {
        **comparison,
        "never_acted": [each for each in comparison["never_acted"] if not each.startswith(OURS)],
        "remarks": [each for each in comparison["remarks"] if not each.startswith(OURS)],
    }
    return _renamed(kept, names, is_ours=False)


def _renamed(comparison: dict[str, Any], names: list[str], is_ours: bool) -> dict[str, Any]:
    """Sentences alone: keys, and what a loop reports, are not ours to change."""
    first = comparison["first_divergence"]
    return {
        **comparison,
        "never_acted": [_text(each, names, is_ours) for each in comparison["never_acted"]],
        "remarks": [_text(each, names, is_ours) for each in comparison["remarks"]],
        "first_divergence": first
        and {
            **first,
            "likely_cause": _text(first["likely_cause"], names, is_ours),
            "also": [_text(each, names, is_ours) for each in first["also"]],
            "findings": [{**each, "text": _text(each["text"], names, is_ours)} for each in first["findings"]],
        },
    }


def _text(sentence: str, names: list[str], is_ours: bool) -> str:
    if not is_ours:
        for pattern, new in WORDS:
            sentence = re.sub(pattern, new, sentence)
    if names[1].startswith("Trainer"):
        return sentence
    return re.sub(r"\bTrainer\b(?!\.)", names[1], sentence)
