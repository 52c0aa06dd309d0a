"""docs/gallery.md: every mistake of the catalogue, what it costs, and what a comparison and a check say about it.

`make gallery-page` measures all of it again, and draws both charts; with `--kept-costs` the costs stay as they were
measured last.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from benchmarks.mistakes import line
from benchmarks.mistakes.catalogue import MISTAKES, UNSEEN
from benchmarks.mistakes.mistake import IDENTICAL, MINIMAL, NO_DIFFERENCE, Mistake, Verdict, wrong_script
from benchmarks.mistakes.rewrites import REWRITES as PIECES
from benchmarks.proofs.checks import Judgement, judge_mistake
from benchmarks.proofs.measuring import DOCS, page, quietly, where, where_measured, write_by_line, write_table
from benchmarks.proofs.parity import kept_run
from benchmarks.runs import run_here
from benchmarks.verdict.verdict import compare_runs
from shared.config import RunConfig, option, show
from shared.errors import SameLoopError
from shared.files import read_json
from shared.progress import announce
from shared.running.script import LoopScript

PAGE, TABLE = DOCS / "gallery.md", "mistakes"
COLUMNS = ("mistake", "what", "settings", "first difference", "sameloop compare finds", "sameloop check finds")
COSTS = Path(__file__).with_name("measured") / "costs.json"
# With these settings every mistake has an effect: only the longest reviews are truncated, so batches differ in length.
# The gradient norms of `tiny` are below the limit that is written in the minimal loop: it gets a lower limit.
MINIMAL_SETTINGS: dict[str, Any] = {"max_length": 48}
LIMIT = RunConfig.build("tiny").max_grad_norm
COMPARED = [mistake for mistake in MISTAKES.values() if mistake.compared]
# A rewrite of the full loop is judged as a mistake that makes no difference.
REWRITES = [Mistake("a right rewrite", what, "", whole=pieces) for what, pieces in PIECES.items()]


# What a comparison says ---------------------------------------------------------------------------


class Outcome(NamedTuple):
    """The outcome of a comparison of a loop with `Trainer`: its content, or the error that stopped the run."""

    comparison: dict[str, Any] | None
    stopped: str = ""

    @property
    def first(self) -> dict[str, Any] | None:
        """The first difference."""
        return self.comparison and self.comparison["first_divergence"]

    @property
    def where(self) -> str:
        """`step 9: batch`; how it ended where there is no difference."""
        if self.comparison is None:
            return "stopped, exit status 2"
        return where(self.comparison) or IDENTICAL


def loop_and_settings(mistake: Mistake) -> tuple[LoopScript, RunConfig]:
    """The loop with a mistake as it is compared, and the settings of its run; `Trainer`'s are these without `loop`."""
    script = wrong_script(mistake)
    if mistake.whole:
        return script, RunConfig.build("tiny", **mistake.compared_settings)
    if line.CLIP in script.source:
        script = script.edited(line.CLIP, line.CLIP.replace("1.0", str(LIMIT)))
    return script, RunConfig.build("tiny", **{**MINIMAL_SETTINGS, **mistake.compared_settings, "loop": str(MINIMAL)})


def compare_mistake(mistake: Mistake, kept: Path) -> Outcome:
    """Run a loop with a mistake and compare it with `Trainer`; `kept`: the folder of its runs, as in `kept_run`."""
    script, config = loop_and_settings(mistake)
    with tempfile.TemporaryDirectory() as folder:
        try:
            run_here("manual", script, config, Path(folder) / "manual")
        except SameLoopError as error:
            return Outcome(None, str(error))
        trainer = kept_run("trainer", config.model_copy(update={"loop": None}), kept)
        return Outcome(compare_runs(Path(folder) / "manual", trainer))


def is_compared_rightly(expected: Verdict, outcome: Outcome) -> bool:
    """Whether a comparison finds what it must: the first difference, its cause, and no other cause."""
    if expected.stopped or outcome.comparison is None:
        return expected.stopped != "" and expected.stopped in outcome.stopped
    if expected.where == IDENTICAL or outcome.first is None:
        return expected.where == IDENTICAL and outcome.first is None
    codes = [finding["code"] for finding in outcome.first["findings"]]
    return expected.where in outcome.where and codes == [expected.code, *expected.also]


# The costs ----------------------------------------------------------------------------------------


def measure_costs() -> dict[str, Any]:
    """Train every mistake of the gallery, run the ladder, and write both charts to docs/."""
    from rich.console import Console

    from benchmarks.mistakes.ladder import ladder_config, order_from, write_ladder
    from benchmarks.mistakes.ladder_chart import ladder_chart
    from benchmarks.mistakes.show import print_gallery

    with tempfile.TemporaryDirectory() as folder:
        print_gallery("tiny", 5, 2, Path(folder) / "gallery", Console(highlight=False))
        ladder_result = write_ladder(ladder_config("tiny"), order_from(None), Path(folder) / "ladder")
        ladder_chart(ladder_result).save(Path(folder) / "ladder" / "ladder.png")
        gallery = read_json(Path(folder) / "gallery" / "gallery.json")
        shutil.copy(Path(folder) / "gallery" / "gallery.png", DOCS / "gallery.png")
        shutil.copy(Path(folder) / "ladder" / "ladder.png", DOCS / "ladder.png")
    config, rows = gallery["config"], gallery["mistakes"]
    return {
        **{name: config[name] for name in ("preset", "train_size", "eval_size")},
        "seeds": len(rows[0]["right"]),
        "right": [round(100 * run["accuracy"], 1) for run in rows[0]["right"]],
        "mistakes": {
            row["name"]: {
                "points": round(100 * row["accuracy_difference"], 1),
                "noticed": row["noticed"],
                "quiet": row["signs"] == ["nothing"],
            }
            for row in rows
        },
    }


# The document -------------------------------------------------------------------------------------


class Case(NamedTuple):
    """A mistake or a right rewrite, the outcome of its comparison, and its check if the minimal loop can have it."""

    mistake: Mistake
    outcome: Outcome
    checked: Judgement | None

    @property
    def is_compared_rightly(self) -> bool:
        return is_compared_rightly(self.mistake.compared or NO_DIFFERENCE, self.outcome)


def judged(mistake: Mistake, kept: Path) -> Case:
    """Compare and check a mistake; `kept`: as in `compare_mistake`."""
    checked = quietly(judge_mistake, mistake) if mistake.pieces else None
    return Case(mistake, quietly(compare_mistake, mistake, kept), checked)


def document(costs: Mapping[str, Any], mistakes: Sequence[Case], rewrites: Sequence[Case]) -> str:
    """The text of docs/gallery.md; `costs`: as `measure_costs` returns them."""
    checked = [case.checked for case in mistakes if case.checked]
    flaws = [judgement.is_right for judgement in checked if judgement.expected]
    return page(
        PAGE.name,
        costs=costs,
        quiet=sum(row["quiet"] for row in costs["mistakes"].values()),
        gallery=MISTAKES,
        compared=[case.is_compared_rightly for case in mistakes],
        flaws=flaws,
        passing=len(checked) - len(flaws),
        where_measured=where_measured(),
        rewrites=[case.is_compared_rightly for case in rewrites],
        unseen=UNSEEN,
    )


def table_rows(cases: Sequence[Case]) -> Iterator[tuple[str, ...]]:
    """A row in the order of `COLUMNS` for each."""
    for case in cases:
        mistake, first = case.mistake, case.outcome.first
        settings = " ".join(f"{option(name)} {show(value)}" for name, value in mistake.compared_settings.items())
        first_difference = f"{_mark(case.is_compared_rightly)}{case.outcome.where}"
        codes = [finding["code"] for finding in first["findings"]] if first else []
        yield (mistake.name, mistake.what, settings, first_difference, ", ".join(codes), _checked(case.checked))


def _mark(is_right: bool) -> str:
    return "" if is_right else "WRONG: "


def _checked(judgement: Judgement | None) -> str:
    """The codes of a check's findings, or its verdict."""
    if judgement is None:
        return "not checked"
    codes = [row["code"] for row in judgement.result.rubric if row["status"] == "fail"]
    return _mark(judgement.is_right) + (", ".join(codes) or judgement.result.verdict)


def main() -> int:
    """Measure, and write the document; exit status 1 if something is not judged as it must be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kept-costs", action="store_true", help="take the costs that were measured last")
    if not parser.parse_args().kept_costs:
        write_by_line(COSTS, measure_costs(), "mistakes")
    costs = read_json(COSTS)
    with tempfile.TemporaryDirectory() as folder:
        mistakes, rewrites = (
            [judged(mistake, Path(folder)) for mistake in tqdm(group, desc=name, disable=None)]
            for name, group in (("mistakes", COMPARED), ("rewrites", REWRITES))
        )
    PAGE.write_text(document(costs, mistakes, rewrites), encoding="utf-8")
    cases = [*mistakes, *rewrites]
    write_table(TABLE, COLUMNS, table_rows(cases))
    announce(f"docs/{PAGE.name}: {len(mistakes)} mistakes, {len(rewrites)} rewrites")
    right = [case.is_compared_rightly for case in cases]
    right += [case.checked.is_right for case in cases if case.checked]
    return 0 if all(right) else 1


if __name__ == "__main__":
    sys.exit(main())
