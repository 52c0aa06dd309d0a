"""docs/gallery.md: every mistake of the catalogue, what it costs, and what a comparison and a check say of it.

`make gallery-page` measures all of it again, with the chart and the ladder's picture; with `--kept-costs` the costs
stay what they were when they were measured last.
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
# Under these, every mistake shows: no review is cut but the longest, so that batches are of different lengths. The
# gradients of `tiny` are shorter than the limit that the minimal loop has written into it: it is given a shorter one.
MINIMAL_SETTINGS: dict[str, Any] = {"max_length": 48}
LIMIT = RunConfig.build("tiny").max_grad_norm


# What a comparison says ---------------------------------------------------------------------------


class Said(NamedTuple):
    """What a comparison with `Trainer` has said of a page: its content, or the one line that stopped the run."""

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


def page_and_settings(mistake: Mistake) -> tuple[LoopScript, RunConfig]:
    """The page with a mistake as it is compared, and the settings of its run; `Trainer`'s are these without `loop`."""
    script = wrong_script(mistake)
    if mistake.whole:
        return script, RunConfig.build("tiny", **mistake.compared_settings)
    if line.CLIP in script.source:
        script = script.edited(line.CLIP, line.CLIP.replace("1.0", str(LIMIT)))
    return script, RunConfig.build("tiny", **{**MINIMAL_SETTINGS, **mistake.compared_settings, "loop": str(MINIMAL)})


def compare_mistake(mistake: Mistake, kept: Path) -> Said:
    """Run a page with a mistake and compare it with `Trainer`.

    Args:
        mistake: one that is compared.
        kept: keeps `Trainer`'s runs, as `kept_run`.
    """
    return _compare(*page_and_settings(mistake), kept)


def compare_rewrite(rewrite: Rewrite, kept: Path) -> Said:
    """The same of a right rewrite of the full loop."""
    return _compare(edited(package_script("manual"), rewrite.pieces), RunConfig.build("tiny"), kept)


def _compare(script: LoopScript, config: RunConfig, kept: Path) -> Said:
    with tempfile.TemporaryDirectory() as folder:
        try:
            run_here("manual", script, config, Path(folder) / "manual")
        except SameLoopError as error:
            return Said(None, str(error))
        trainer = kept_run("trainer", config.model_copy(update={"loop": None}), kept)
        return Said(compare_runs(Path(folder) / "manual", trainer))


def is_compared_rightly(expected: Verdict, said: Said, stops: bool = False) -> bool:
    """Whether a comparison has said what it must: the first difference, its cause, and nothing else blamed."""
    if stops or said.comparison is None:
        return stops and said.comparison is None and expected.stopped in said.stopped
    if expected.where == IDENTICAL or said.first is None:
        return expected.where == IDENTICAL and said.first is None
    codes = [finding["code"] for finding in said.first["findings"]]
    return expected.where in said.where and codes == [expected.code, *expected.also]


# What a check says --------------------------------------------------------------------------------


def check_mistake(mistake: Mistake) -> Result | None:
    """What a check says of the minimal loop with a mistake; None of what only the full loop has."""
    return check_script(wrong_script(mistake), mistake.settings) if mistake.pieces else None


def is_checked_rightly(mistake: Mistake, result: Result) -> bool:
    """Whether a check has failed the items that it must, no other, and said why."""
    if not mistake.fails:
        return result.verdict in GOOD
    return sorted(result.failures) == sorted(mistake.fails) and mistake.check == _row(mistake, result)["code"]


def _row(mistake: Mistake, result: Result) -> dict[str, Any]:
    """The row of the rubric that the mistake must fail."""
    return next(row for row in result.rubric if row["item"] == mistake.fails[0])


# The costs ----------------------------------------------------------------------------------------


def measure_costs() -> dict[str, Any]:
    """Train every mistake of the gallery, climb the ladder, and leave both pictures in docs/."""
    from rich.console import Console

    from benchmarks.mistakes.ladder import ladder_config, order_from, write_ladder
    from benchmarks.mistakes.ladder_chart import ladder_chart
    from benchmarks.mistakes.show import print_gallery

    with tempfile.TemporaryDirectory() as folder:
        print_gallery("tiny", 5, 2, Path(folder) / "gallery", Console(highlight=False))
        found = write_ladder(ladder_config("tiny"), order_from(None), Path(folder) / "ladder")
        ladder_chart(found).save(Path(folder) / "ladder" / "ladder.png")
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
    """Keep them beside this module, a line per mistake."""
    head = json.dumps({name: value for name, value in costs.items() if name != "mistakes"})
    rows = ",\n".join(f"{json.dumps(name)}: {json.dumps(row)}" for name, row in costs["mistakes"].items())
    COSTS.write_text(f'{head[:-1]}, "mistakes": {{\n{rows}\n}}}}\n', encoding="utf-8")


# The page -----------------------------------------------------------------------------------------


class Judged(NamedTuple):
    """A mistake and what was said of it; None where it was not asked."""

    mistake: Mistake
    said: Said | None
    result: Result | None


def document(costs: Mapping[str, Any], judged: Sequence[Judged], rewrites: Sequence[tuple[Rewrite, Said]]) -> str:
    """The text of docs/gallery.md.

    Args:
        costs: as `measure_costs` gives them.
        judged: every mistake.
        rewrites: every right rewrite.
    """
    lines = [*_costs_part(costs), *_said_part(judged), *_rewrites_part(rewrites), "## What a check does not see", ""]
    lines += [f"- {what}: {why}" for what, why in UNSEEN.items()]
    return "\n".join(lines) + "\n"


def _costs_part(costs: Mapping[str, Any]) -> Iterator[str]:
    rows, right = costs["mistakes"], ", ".join(f"{value:.1f}" for value in costs["right"])
    quiet = sum(row["quiet"] for row in rows.values())
    yield "# Mistakes: what they cost, and what finds them"
    yield ""
    yield (
        f"**{quiet} of {len(rows)} mistakes that people made cost nothing that one would notice here.** A loop that "
        "learns is no proof that it is right."
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
        noticed, mistake = "nothing" if row["quiet"] else row["noticed"], MISTAKES[name]
        yield f"| {mistake.what} (`{name}`) | {row['points']:+.1f} | {noticed} | {mistake.source} |"
    yield ""


def _said_part(judged: Sequence[Judged]) -> Iterator[str]:
    compared = [(each.mistake, each.said) for each in judged if each.mistake.compared and each.said]
    right = sum(is_compared_rightly(each.compared or NO_DIFFERENCE, said, each.stops) for each, said in compared)
    checked = [(each.mistake, each.result) for each in judged if each.result]
    seen = [(mistake, result) for mistake, result in checked if mistake.fails]
    found = sum(is_checked_rightly(mistake, result) for mistake, result in seen)
    yield "## What finds them"
    yield ""
    yield (
        f"These and others, each an edit of the minimal or of the full loop "
        f"([their list](../benchmarks/mistakes/catalogue.py)). Compared with `Trainer`: **{right} of {len(compared)} "
        "end as they must: the right first difference, its cause, and nothing else blamed.** Checked: "
        f"**{found} of {len(seen)} fail the right phase, no other, with the right cause.** A check passes the other "
        f"{len(checked) - len(seen)}: they change no number, or only the random draws or the rounding. "
        f"{where_measured()} All of them, with the codes of what is found: [data/{TABLE}.csv](data/{TABLE}.csv)."
    )
    yield ""


def table_rows(judged: Sequence[Judged], rewrites: Sequence[tuple[Rewrite, Said]]) -> Iterator[tuple[str, ...]]:
    """A row in the order of `COLUMNS` for each mistake that is compared, and for each right rewrite."""
    for each in judged:
        if each.said:
            is_right = is_compared_rightly(each.mistake.compared or NO_DIFFERENCE, each.said, each.mistake.stops)
            settings = " ".join(
                f"{option(name)} {show(value)}" for name, value in each.mistake.compared_settings.items()
            )
            row = (each.mistake.name, each.mistake.what, settings, f"{_mark(is_right)}{each.said.where}")
            yield (*row, _codes(each.said), _checked(each))
    for rewrite, said in rewrites:
        where = f"{_mark(is_compared_rightly(NO_DIFFERENCE, said))}{said.where}"
        yield ("a right rewrite", rewrite.what, "", where, _codes(said), "not checked")


def _rewrites_part(rewrites: Sequence[tuple[Rewrite, Said]]) -> Iterator[str]:
    right = sum(is_compared_rightly(NO_DIFFERENCE, said) for _, said in rewrites)
    yield "## Right rewrites"
    yield ""
    yield (
        f"{len(rewrites)} edits of the full loop that are no mistakes ([their "
        f"list](../benchmarks/mistakes/rewrites.py)): **{right} of {len(rewrites)} are identical to `Trainer`.**"
    )
    yield ""


def _mark(is_right: bool) -> str:
    return "" if is_right else "WRONG: "


def _codes(said: Said) -> str:
    """The codes of what a comparison has found, the cause first."""
    return ", ".join(finding["code"] for finding in said.first["findings"]) if said.first else ""


def _checked(judged: Judged) -> str:
    """The same of a check."""
    if judged.result is None:
        return "not checked"
    codes = [row["code"] for row in judged.result.rubric if row["status"] == "fail"]
    return _mark(is_checked_rightly(judged.mistake, judged.result)) + (", ".join(codes) or judged.result.verdict)


def main() -> int:
    """Measure, and write the page; exit status 1 if something is not judged as it must be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kept-costs", action="store_true", help="take the costs that were measured last")
    if not parser.parse_args().kept_costs:
        keep_costs(measure_costs())
    costs = read_json(COSTS)
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder)
        judged = [
            Judged(
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
    PAGE.write_text(document(costs, judged, rewrites), encoding="utf-8")
    write_table(TABLE, COLUMNS, table_rows(judged, rewrites))
    announce(f"docs/{PAGE.name}: {len(judged)} mistakes, {len(rewrites)} rewrites")
    right = [is_compared_rightly(NO_DIFFERENCE, said) for _, said in rewrites]
    right += [is_compared_rightly(m.compared or NO_DIFFERENCE, said, m.stops) for m, said, _ in judged if said]
    right += [is_checked_rightly(mistake, result) for mistake, _, result in judged if result]
    return 0 if all(right) else 1


if __name__ == "__main__":
    sys.exit(main())
