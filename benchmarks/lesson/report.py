"""`sameloop report`: the whole lesson of one comparison on one page, in one file that needs nothing else.

The page holds the verdict, the charts, both loops of code with their lines linked, the x-ray, every step with its
reviews, the settings, and how to reproduce it. Its script and its style are plain files next to the template; its
content security policy lets it load nothing from anywhere.
"""

from __future__ import annotations

import base64
import hashlib
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import transformers
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from benchmarks.charts.data import NAMES, names_of
from benchmarks.judge.finding import UNDECIDED
from benchmarks.judge.words import Words
from benchmarks.lesson.code_rows import Row, phase_at_fault, rows_of
from benchmarks.lesson.pictures import CHARTS, SMOOTHED, charts, drawn_ladder, small_chart
from benchmarks.lesson.quality import Quality, measure
from benchmarks.lesson.steps import Reviews, load_reviews, step_table
from benchmarks.lesson.whatif import ANSWERS, MEASURED, read_measured
from benchmarks.lesson.xray import XRay, script_frame, stack_text, xray
from benchmarks.lesson.xray_table import verdict_text
from benchmarks.mistakes.ladder import LADDER, Ladder
from benchmarks.pages.costs import setting_costs
from benchmarks.pages.eject import ACCELERATED, accelerated_script, beyond_accelerate
from benchmarks.pages.fold import folded_source
from benchmarks.runs import read_comparison
from benchmarks.statistics import which_is_faster
from benchmarks.verdict.table import cost_rows, epoch_rows, notes, reported_rows
from shared.config import RunConfig, job_name, meaning, option, sections, show
from shared.errors import SameLoopError
from shared.progress import announce
from shared.recording.record import RunRecord
from shared.running.folder import LOOPS
from shared.running.script import LoopScript, kept_scripts
from shared.sources.hub import go_offline_if_unreachable

Part = TypeVar("Part")
TEMPLATES = Path(__file__).parent / "templates"
STYLE_SHEETS = ("report.css", "quality.css")
# In addition, for a page with three columns.
WIDE_STYLE_SHEET = "three.css"
FILE_NAME = "report.html"


def write_report(
    output_dir: Path,
    output: Path | None = None,
    inside: Callable[[], XRay] | None = None,
    accelerate: bool = False,
) -> Path:
    """Write the report of the comparison in `output_dir`.

    Args:
        output_dir: what `sameloop compare` left.
        output: the file; None: `report.html` in that folder.
        inside: makes the x-ray of a user's own job; None: the job is ours.
        accelerate: show the loop with `accelerate`, too.

    Returns:
        The file's path.

    Raises:
        SameLoopError: there is no comparison, the file cannot be written, or there is no loop with `accelerate` for
            this run.
    """
    comparison = read_comparison(output_dir)
    is_ours = "job" not in comparison
    output = _place(output or output_dir / FILE_NAME)
    records = [RunRecord.read(output_dir / loop) for loop in LOOPS]
    config = records[0].config
    if accelerate and (problem := _beyond_accelerate(comparison, config)):
        raise SameLoopError(problem)
    reviews, xray_result, quality, why_no_quality = Reviews({}, [], []), None, None, ""
    if inside is None:
        go_offline_if_unreachable(config)
        announce("report: the reviews of every step")
        reviews = load_reviews(config)
    # Loop, data or model may not allow it.
    scripts, why_not = _tried(lambda: kept_scripts(output_dir))
    if scripts is not None:
        xray_result, why_not = _tried(inside or (lambda: xray(config, scripts=scripts)))
    _announce_first_difference(comparison, xray_result)
    if is_ours:
        # Models and reviews may be gone, or may have changed.
        quality, why_no_quality = _tried(lambda: measure(output_dir))
    announce("report: the charts and the page")
    html = render(
        comparison,
        records,
        reviews,
        xray_result=xray_result,
        why_not=why_not,
        pictures=charts(output_dir),
        scripts=scripts,
        ladder=ladder_of(output_dir) if is_ours else None,
        quality=quality,
        why_no_quality=why_no_quality,
        accelerate=accelerate,
    )
    try:
        output.write_text(html, encoding="utf-8")
    except OSError as error:
        raise SameLoopError(f"cannot write {output}: {error.strerror}; name another place with --output") from None
    return output


def _place(output: Path) -> Path:
    """The path of the report.

    Raises:
        SameLoopError: nothing can be written there.
    """
    if output.is_dir() or not output.parent.is_dir():
        problem = "it is a folder" if output.is_dir() else f"there is no folder {output.parent}"
        raise SameLoopError(f"cannot write {output}: {problem}; name another place with --output")
    return output


def _announce_first_difference(comparison: dict[str, Any], xray_result: XRay | None) -> None:
    """Announce the x-ray's first difference, if the records do not show the cause."""
    first = comparison["first_divergence"]
    undecided = first and any(finding["code"].endswith(UNDECIDED) for finding in first.get("findings", [])[:1])
    if undecided and xray_result and xray_result.first_difference:
        announce(f"the records do not show the cause; the x-ray shows: {verdict_text(xray_result).plain}")


def _beyond_accelerate(comparison: dict[str, Any], config: RunConfig) -> str | None:
    """Why the loop with `accelerate` cannot stand beside these two, in one line; None if it can."""
    if "job" in comparison:
        return "--accelerate: not with a script or two loops of yours, for which there is no such loop; leave it out"
    if config.save_strategy == RunConfig.build(config.preset).save_strategy and not config.load_best_model_at_end:
        # The user has not requested these checkpoints: as in `eject`, which then writes a script without.
        config = config.model_copy(update={"save_strategy": "no"})
    return beyond_accelerate(config)


def _tried(make: Callable[[], Part]) -> tuple[Part | None, str]:
    """A part of the report, or None and why there is none."""
    try:
        return make(), ""
    except SameLoopError as error:
        return None, str(error)


def ladder_of(output_dir: Path) -> Ladder | None:
    """The ladder that the comparison is the last step of; of none, the one that was measured for the lesson.

    None: what is there is damaged.
    """
    folder = output_dir if (output_dir / LADDER.name).is_file() else MEASURED
    try:
        return LADDER.read(folder)
    except SameLoopError as error:
        announce(f"no ladder: {error}")
        return None


def render(
    comparison: dict[str, Any],
    records: Sequence[RunRecord],
    reviews: Reviews,
    *,
    xray_result: XRay | None,
    why_not: str,
    pictures: dict[str, Markup],
    scripts: Mapping[str, LoopScript] | None = None,
    ladder: Ladder | None = None,
    quality: Quality | None = None,
    why_no_quality: str = "left out",
    accelerate: bool = False,
) -> str:
    """The report as HTML.

    Args:
        comparison: the content of `comparison.json`.
        records: the manual loop's, Trainer's.
        reviews: of the training subset.
        xray_result: None: there is no x-ray, and `why_not` is the reason.
        pictures: SVG elements by kind.
        scripts: the code of both loops, as the run has kept it; None: it has kept none, and none is shown.
        ladder: the steps from the loop that courses teach; None: none are shown.
        quality: how good the models are; None: it was not measured, and `why_no_quality` is the reason.
        accelerate: whether the loop with `accelerate` is shown between the two.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":"), "allow_nan": False}
    environment.filters["with_code"] = with_code
    environment.globals |= {"small_chart": small_chart, "script_frame": script_frame, "stack_text": stack_text}
    config, own, names = records[0].config, _own_job(comparison, records), names_of(records[0], records[1])
    world_size = records[0].header.get("world_size", 1)
    sources = {loop: folded_source(script, config, world_size) for loop, script in (scripts or {}).items()}
    script_names = {loop: script.name for loop, script in (scripts or {}).items()}
    if accelerate and sources:
        sources["accelerate"] = folded_source(accelerated_script(), config, accelerate=True)
        script_names["accelerate"] = ACCELERATED.name
    rows = rows_of(sources, xray_result, is_own_job=own is not None, are_loops=names is not NAMES)
    words = Words.of(records[0], records[1])
    return environment.get_template("report.html").render(
        **_run_parts(comparison, records, names),
        **_code_parts(comparison, xray_result, rows),
        **_page_parts(WIDE_STYLE_SHEET if accelerate else None),
        own=own,
        words=words,
        charts={kind: (words.fill(title), pictures[kind]) for kind, title in CHARTS.items() if kind in pictures},
        scripts=script_names,
        ladder=ladder and drawn_ladder(ladder),
        quality=quality,
        why_no_quality=why_no_quality,
        setting_costs=setting_costs(config, world_size) if own is None else (),
        xray=xray_result,
        transformers=transformers.__version__,
        why_not=why_not,
        steps=step_table(records, reviews, names, is_own_job=own is not None),
    )


def _run_parts(comparison: dict[str, Any], records: Sequence[RunRecord], sides: Mapping[str, str]) -> dict[str, Any]:
    """The template's data on the run: its settings, its verdict, its costs, and how to repeat it."""
    config, machine = records[0].config, comparison["environment"]
    commit = machine["git"] or ""
    against = [] if sides is NAMES else ["--against", str(records[1].config.loop)]
    return {
        "comparison": comparison,
        "answer": answer(comparison),
        "notes": notes(comparison),
        "config": config,
        "setting_sections": list(settings(config)),
        "command": shlex.join(["sameloop", "compare", *config.flags(), *against]),
        "job": job_name(config, records[0].start.get("parameters")),
        "is_identical": comparison["verdict"] == "identical",
        "is_repeatable": config.full_determinism
        or (not config.torch_compile and (config.use_cpu or machine["device"] == "cpu")),
        "commit": commit.removesuffix("-dirty"),
        "is_dirty": commit.endswith("-dirty"),
        "costs": cost_rows(comparison, records, missing="–"),
        "faster": which_is_faster(records[0], records[1], of=" / ".join(sides.values())),
        "epochs": epoch_rows(comparison, accuracy=".2%", missing="–"),
        "reported": reported_rows(records, missing="–"),
        "sides": sides,
        "two_loops": sides is not NAMES,
    }


def _own_job(comparison: dict[str, Any], records: Sequence[RunRecord]) -> dict[str, Any] | None:
    """What is shown of a user's own job in place of the texts on ours; None if the job is ours."""
    if not all("job" in record.header for record in records):
        return None
    ours, theirs = (record.header["job"] for record in records)
    loops = [record.config.loop for record in records]
    # As `benchmarks.port.side.sides_of` takes them.
    arguments = ["--trainer", ours["script"]]
    if loops[0]:
        arguments += ["--loop", loops[0]]
    if not ours["is_loop"] or theirs["is_loop"]:
        arguments += ["--against", loops[1] or theirs["script"]]
    arguments += ["--", *ours["arguments"]] if ours["arguments"] else []
    return {
        "name": f"{Path(theirs['script']).name}: {theirs['model']}",
        "sides": comparison["job"]["sides"],
        # Whether a script's own Trainer is the second side.
        "is_script": not theirs["is_loop"],
        # Less known things that Trainer does in this run, a sentence each.
        "facts": comparison["job"]["facts"],
        # Those of `TrainingArguments` that the script sets.
        "arguments": ours["set"] or theirs["set"],
        "command": shlex.join(["sameloop", "compare", *arguments]),
    }


def _code_parts(comparison: dict[str, Any], xray_result: XRay | None, rows: Sequence[Row]) -> dict[str, Any]:
    """The template's data on the code: its rows, where they differ, and what was measured without each line."""
    measured = read_measured()
    return {
        "rows": rows,
        "top": ("page", "imports"),
        "at_fault": phase_at_fault(comparison, xray_result, rows),
        "measured": measured,
        "asked": any(row.is_first and row.phase.name in measured.what_ifs for row in rows),
        "answers": ANSWERS,
        "smoothed": SMOOTHED,
    }


def _page_parts(further_style: str | None) -> dict[str, Any]:
    """The page's style and script, and the script's digest, by which the page allows it to run."""
    sheets = [*STYLE_SHEETS, *([further_style] if further_style else [])]
    script = (TEMPLATES / "report.js").read_text(encoding="utf-8")
    return {
        "style": Markup("".join((TEMPLATES / name).read_text(encoding="utf-8") for name in sheets)),
        "script": Markup(script),
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    }


def with_code(text: str) -> Markup:
    """A text whose `words in backticks` are shown as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(Markup.escape(text))))


# The verdict and what it cost ---------------------------------------------------------------------


def answer(comparison: dict[str, Any]) -> tuple[str, str]:
    """The answer in a word, and in one sentence."""
    if comparison["verdict"] == "identical":
        steps = f"{comparison['steps']:,} steps"
        return "Yes.", f"All {steps}, every evaluation and every weight are equal, with a difference of exactly 0.0."
    first = comparison["first_divergence"]
    where = f"The two loops diverge at step {first['step']:,}: {first['quantity']} differs."
    return "Not quite.", f"{where} Likely cause: {first['likely_cause']}."


# The settings ----------------------------------------------------------------------------------------


def settings(config: RunConfig) -> Iterable[tuple[str, list[dict[str, str]]]]:
    """By section, every setting: option, value, meaning, and whether it differs from the preset's."""
    own = RunConfig.build(config.preset)
    for section, names in sections().items():
        yield (
            section,
            [
                {
                    "option": option(name),
                    "value": show(getattr(config, name)),
                    "meaning": with_code(meaning(name)),
                    "changed": getattr(config, name) != getattr(own, name),
                }
                for name in names
            ],
        )
