"""docs/gallery.md: every mistake of the catalogue, what it costs, and what a comparison and a check say about it.

`make gallery-page` measures all of it again, and draws both charts; with `--kept-costs` the costs stay as they were
measured last.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from benchmarks.check.check import check_script
from benchmarks.check.rubric import GOOD, Result
from benchmarks.mistakes import line
from benchmarks.mistakes.catalogue import MISTAKES, UNSEEN
from benchmarks.mistakes.mistake import IDENTICAL, MINIMAL, NO_DIFFERENCE, Mistake, Verdict, edited, wrong_script
from benchmarks.mistakes.rewrites import REWRITES, Rewrite
from benchmarks.proofs.measuring import DOCS, quietly, where_measured, write_table
from benchmarks.proofs.parity import kept_run
from benchmarks.runs import run_here
from benchmarks.verdict.verdict import compare_runs
from shared.config import RunConfig, option, show
from shared.errors import SameLoopError
from shared.files import read_json
from shared.progress import announce
from shared.running.script import LoopScript, package_script

PAGE, TABLE = DOCS / "gallery.md", "mistakes"
COLUMNS = ("mistake", "what", "settings", "first difference", "sameloop compare finds", "sameloop check finds")
COSTS = Path(__file__).with_name("measured") / "costs.json"
# With these settings every mistake has an effect: only the longest reviews are truncated, so batches differ in length.
# The gradient norms of `tiny` are below the limit that is written in the minimal loop: it gets a lower limit.
MINIMAL_SETTINGS: dict[str, Any] = {"max_length": 48}
LIMIT = RunConfig.build("tiny").max_grad_norm


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
        return IDENTICAL if self.first is None else f"step {self.first['step']}: {self.first['quantity']}"


def loop_and_settings(mistake: Mistake) -> tuple[LoopScript, RunConfig]:
    """The loop with a mistake as it is compared, and the settings of its run; `Trainer`'s are these without `loop`."""
    script = wrong_script(mistake)
    if mistake.whole:
        return script, RunConfig.build("tiny", **mistake.compared_settings)
    if line.CLIP in script.source:
        script = script.edited(line.CLIP, line.CLIP.replace("1.0", str(LIMIT)))
    return script, RunConfig.build("tiny", **{**MINIMAL_SETTINGS, **mistake.compared_settings, "loop": str(MINIMAL)})


def compare_mistake(mistake: Mistake, kept: Path) -> Outcome:
    """Run a loop with a mistake and compare it with `Trainer`.

    Args:
        mistake: one that is compared.
        kept: the folder of `Trainer`'s runs, as in `kept_run`.
    """
    return _compare(*loop_and_settings(mistake), kept)


def compare_rewrite(rewrite: Rewrite, kept: Path) -> Outcome:
    """The same for a right rewrite of the full loop."""
    return _compare(edited(package_script("manual"), rewrite.pieces), RunConfig.build("tiny"), kept)


def _compare(script: LoopScript, config: RunConfig, kept: Path) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        try:
            run_here("manual", script, config, Path(folder) / "manual")
        except SameLoopError as error:
            return Outcome(None, str(error))
        trainer = kept_run("trainer", config.model_copy(update={"loop": None}), kept)
        return Outcome(compare_runs(Path(folder) / "manual", trainer))


def is_compared_rightly(expected: Verdict, outcome: Outcome, stops: bool = False) -> bool:
    """Whether a comparison finds what it must: the first difference, its cause, and no other cause."""
    if stops or outcome.comparison is None:
        return stops and outcome.comparison is None and expected.stopped in outcome.stopped
    if expected.where == IDENTICAL or outcome.first is None:
        return expected.where == IDENTICAL and outcome.first is None
    codes = [finding["code"] for finding in outcome.first["findings"]]
    return expected.where in outcome.where and codes == [expected.code, *expected.also]


# What a check says --------------------------------------------------------------------------------


def check_mistake(mistake: Mistake) -> Result | None:
    """The check of the minimal loop with a mistake; None for a mistake that only the full loop can have."""
    return check_script(wrong_script(mistake), mistake.settings) if mistake.pieces else None


def is_checked_rightly(mistake: Mistake, result: Result) -> bool:
    """Whether a check fails the items that it must, no other, and names the cause."""
    if not mistake.fails:
        return result.verdict in GOOD
    return sorted(result.failures) == sorted(mistake.fails) and mistake.check == _row(mistake, result)["code"]


def _row(mistake: Mistake, result: Result) -> dict[str, Any]:
    """The row of the rubric that the mistake must fail."""
    return next(row for row in result.rubric if row["item"] == mistake.fails[0])


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


def keep_costs(costs: dict[str, Any]) -> None:
    """Write them next to this module, a line per mistake."""
    head = json.dumps({name: value for name, value in costs.items() if name != "mistakes"})
    rows = ",\n".join(f"{json.dumps(name)}: {json.dumps(row)}" for name, row in costs["mistakes"].items())
    COSTS.write_text(f'{head[:-1]}, "mistakes": {{\n{rows}\n}}}}\n', encoding="utf-8")


# The document -------------------------------------------------------------------------------------


class Case(NamedTuple):
    """A mistake, the outcome of its comparison and the result of its check; None where there was none."""

    mistake: Mistake
    outcome: Outcome | None
    result: Result | None


def document(costs: Mapping[str, Any], judged: Sequence[Case], rewrites: Sequence[tuple[Rewrite, Outcome]]) -> str:
    """The text of docs/gallery.md.

    Args:
        costs: as `measure_costs` returns them.
        judged: every mistake.
        rewrites: every right rewrite.
    """
    lines = [*_costs_part(costs), *_finds_part(judged), *_rewrites_part(rewrites), "## What a check does not see", ""]
    lines += [f"- {description}: {reason}" for description, reason in UNSEEN.items()]
    return "\n".join(lines) + "\n"


def _costs_part(costs: Mapping[str, Any]) -> Iterator[str]:
    rows, right = costs["mistakes"], ", ".join(f"{value:.1f}" for value in costs["right"])
    quiet = sum(row["quiet"] for row in rows.values())
    yield "# Mistakes: what they cost, and what finds them"
    yield ""
    yield (
        f"**{quiet} of {len(rows)} mistakes that people made do not visibly lower the accuracy here.** A loop that "
        "learns is not proven right."
    )
    yield ""
    yield (
        f"Each mistake was planted in the minimal loop and trained with {costs['seeds']} seeds: the "
        f"`{costs['preset']}` model on {costs['train_size']:,} Rotten Tomatoes snippets. The table shows by how many "
        f"points the accuracy on {costs['eval_size']} other snippets changes; the right loop has {right} %. "
        '"Nothing" means: within seed-to-seed variation. A longer run, a larger model or another learning rate may '
        "show more. `make gallery-page` measures it; `sameloop break NAME` shows one mistake."
    )
    yield ""
    yield "![A row per mistake: its accuracy against the right loop's; the table has the figures](gallery.png)"
    yield ""
    yield "| mistake | points | what one notices | where it happened |"
    yield "|---|---|---|---|"
    for name, row in rows.items():
        # Its own column has by how many points.
        noticed = (
            "nothing" if row["quiet"] else row["noticed"].replace(f"accuracy {row['points']:+.1f} points", "accuracy")
        )
        mistake = MISTAKES[name]
        yield f"| {mistake.what} (`{name}`) | {row['points']:+.1f} | {noticed} | {mistake.source} |"
    yield ""


def _finds_part(judged: Sequence[Case]) -> Iterator[str]:
    compared = [(case.mistake, case.outcome) for case in judged if case.mistake.compared and case.outcome]
    right = sum(is_compared_rightly(m.compared or NO_DIFFERENCE, outcome, m.stops) for m, outcome in compared)
    checked = [(case.mistake, case.result) for case in judged if case.result]
    flaws = [(m, result) for m, result in checked if m.fails]
    correct = sum(is_checked_rightly(m, result) for m, result in flaws)
    yield "## What finds them"
    yield ""
    yield (
        f"These and others, each an edit of the minimal or of the full loop "
        f"([their list](../benchmarks/mistakes/catalogue.py)). Compared with `Trainer`: **{right} of {len(compared)} "
        "end as they must: the right first difference, its cause, and nothing else blamed.** Checked: "
        f"**{correct} of {len(flaws)} fail the right phase, no other, with the right cause.** A check passes the "
        f"other {len(checked) - len(flaws)}: they change no number, or only the random draws or the rounding. "
        f"{where_measured()} All of them, with the codes of what is found: [data/{TABLE}.csv](data/{TABLE}.csv)."
    )
    yield ""


def table_rows(judged: Sequence[Case], rewrites: Sequence[tuple[Rewrite, Outcome]]) -> Iterator[tuple[str, ...]]:
    """A row in the order of `COLUMNS` for each mistake that is compared, and for each right rewrite."""
    for case in judged:
        if case.outcome:
            is_right = is_compared_rightly(case.mistake.compared or NO_DIFFERENCE, case.outcome, case.mistake.stops)
            settings = " ".join(
                f"{option(name)} {show(value)}" for name, value in case.mistake.compared_settings.items()
            )
            row = (case.mistake.name, case.mistake.what, settings, f"{_mark(is_right)}{case.outcome.where}")
            yield (*row, _codes(case.outcome), _checked(case))
    for rewrite, outcome in rewrites:
        where = f"{_mark(is_compared_rightly(NO_DIFFERENCE, outcome))}{outcome.where}"
        yield ("a right rewrite", rewrite.what, "", where, _codes(outcome), "not checked")


def _rewrites_part(rewrites: Sequence[tuple[Rewrite, Outcome]]) -> Iterator[str]:
    right = sum(is_compared_rightly(NO_DIFFERENCE, outcome) for _, outcome in rewrites)
    yield "## Right rewrites"
    yield ""
    yield (
        f"{len(rewrites)} edits of the full loop that are no mistakes ([their "
        f"list](../benchmarks/mistakes/rewrites.py)): **{right} of {len(rewrites)} are identical to `Trainer`.**"
    )
    yield ""


def _mark(is_right: bool) -> str:
    return "" if is_right else "WRONG: "


def _codes(outcome: Outcome) -> str:
    """The codes of a comparison's findings, the cause first."""
    return ", ".join(finding["code"] for finding in outcome.first["findings"]) if outcome.first else ""


def _checked(judged: Case) -> str:
    """The codes of a check's findings, or its verdict."""
    if judged.result is None:
        return "not checked"
    codes = [row["code"] for row in judged.result.rubric if row["status"] == "fail"]
    return _mark(is_checked_rightly(judged.mistake, judged.result)) + (", ".join(codes) or judged.result.verdict)


def main() -> int:
    """Measure, and write the document; exit status 1 if something is not judged as it must be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kept-costs", action="store_true", help="take the costs that were measured last")
    if not parser.parse_args().kept_costs:
        keep_costs(measure_costs())
    costs = read_json(COSTS)
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder)
        cases = [
            Case(
                mistake,
                quietly(compare_mistake, mistake, kept) if mistake.compared else None,
                quietly(check_mistake, mistake),
            )
            for mistake in tqdm(MISTAKES.values(), desc="mistakes", disable=None)
        ]
        rewrites = [
            (rewrite, quietly(compare_rewrite, rewrite, kept))
            for rewrite in tqdm(REWRITES.values(), desc="rewrites", disable=None)
        ]
    PAGE.write_text(document(costs, cases, rewrites), encoding="utf-8")
    write_table(TABLE, COLUMNS, table_rows(cases, rewrites))
    announce(f"docs/{PAGE.name}: {len(cases)} mistakes, {len(rewrites)} rewrites")
    right = [is_compared_rightly(NO_DIFFERENCE, outcome) for _, outcome in rewrites]
    right += [is_compared_rightly(m.compared or NO_DIFFERENCE, outcome, m.stops) for m, outcome, _ in cases if outcome]
    right += [is_checked_rightly(mistake, result) for mistake, _, result in cases if result]
    return 0 if all(right) else 1


if __name__ == "__main__":
    sys.exit(main())
