"""Sentences in the words of their job: every `$word` can be filled in, and is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import benchmarks.judge
import benchmarks.verdict
from benchmarks.judge.words import Words
from shared.config import RunConfig
from shared.recording.record import RunRecord
from shared.running.run import header


def record(loop: str | None = None, job: dict | None = None) -> RunRecord:
    first = header("manual", RunConfig.build("tiny", loop=loop), None, None)
    return RunRecord([{"kind": "header", **first, **({"job": job} if job else {})}], "made up")


def job(side: str, is_loop: bool) -> dict:
    return {"side": side, "is_loop": is_loop, "model": "Net"}


def test_every_word_that_a_sentence_asks_for_is_one() -> None:
    folders = [Path(package.__file__ or "").parent for package in (benchmarks.judge, benchmarks.verdict)]
    used = [
        word
        for folder in folders
        for file in folder.glob("*.py")
        for word in re.findall(r"\$\{?(\w+)", file.read_text(encoding="utf-8"))
    ]
    assert len(used) > 60
    assert set(used) <= set(Words._fields)


@pytest.mark.parametrize(
    ("ours", "theirs", "words"),
    [
        (record(), record(), ("settings", "DistilBERT", "Trainer")),
        (record("a.py"), record("x/b.py"), ("settings", "DistilBERT", "b.py")),
        (
            record(job=job("a.py", is_loop=True)),
            record(job=job("t.py", is_loop=False)),
            ("arguments", "Net", "Trainer"),
        ),
        (
            record(job=job("one.py", is_loop=False)),
            record(job=job("two.py", is_loop=False)),
            ("arguments", "Net", "two.py"),
        ),
        (
            record(job=job("a.py", is_loop=True)),
            record(job=job("b.py", is_loop=True)),
            ("arguments", "Net", "b.py"),
        ),
    ],
)
def test_the_words_of_a_job(ours: RunRecord, theirs: RunRecord, words: tuple[str, ...]) -> None:
    sentence = Words.of(ours, theirs).fill("$settings, $model, $Trainer")
    assert sentence == ", ".join(words)
    assert Words().fill("costs $5 and $nothing") == "costs $5 and $nothing"
