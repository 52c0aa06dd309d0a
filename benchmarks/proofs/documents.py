"""The generated parts of the docs. Run by `make docs`.

They are the README's two loops, `docs/settings.md` with the lines of code of every argument, `docs/lesson.md`, and
every picture. The pictures come from the comparison in `runs/quick`, the report's from the browser that
`make browser` installs.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from benchmarks.judge.phases import PHASES
from benchmarks.lesson.quality import measure
from benchmarks.lesson.whatif import read_measured
from benchmarks.pages.costs import is_in_the_loop
from benchmarks.pages.diff import changed_lines
from benchmarks.pages.fold import folded_source
from benchmarks.plot import chart_of
from benchmarks.proofs.measuring import DOCS, page
from shared.config import RunConfig, meaning, option, sections, show, values_by_preset
from shared.progress import announce
from shared.running.script import package_script
from shared.schedules import NEEDED
from shared.starting.children import ROOT

README = ROOT / "README.md"
SHOWN_LOOPS = ("manual_loop/minimal.py", "trainer_loop/minimal.py")
RUN = Path("runs") / "quick"
SIZE = {"width": 1280, "height": 860}
# A setting's cost is compared with these settings: the quick preset without checkpoints, which a script does not need.
PLAIN = {"save_strategy": "no"}
# Values that show a setting's cost in the manual loop, where an arbitrary value would not, or not alone.
EXAMPLES: dict[str, tuple[dict[str, Any], ...]] = {
    "weight_decay": ({"weight_decay": 0.01},),
    "max_grad_norm": ({"max_grad_norm": 0},),
    "lr_scheduler_kwargs": ({"lr_scheduler_type": "cosine_with_restarts", "lr_scheduler_kwargs": {"num_cycles": 2}},),
    "warmup_steps": ({"warmup_steps": 10}, {"warmup_steps": 0.1}),
    "num_train_epochs": ({"num_train_epochs": 1.5},),
    "max_steps": ({"max_steps": 100},),
    "gradient_accumulation_steps": ({"gradient_accumulation_steps": 4},),
    "label_smoothing_factor": ({"label_smoothing_factor": 0.1},),
    "data_seed": ({"data_seed": 3},),
    "logging_steps": ({"logging_strategy": "steps", "logging_steps": 10},),
    "eval_steps": ({"eval_strategy": "steps", "eval_steps": 10},),
    "save_steps": ({"save_strategy": "steps", "save_steps": 10},),
    "save_total_limit": ({"save_strategy": "epoch", "save_total_limit": None},),
    "load_best_model_at_end": ({"save_strategy": "epoch", "load_best_model_at_end": True},),
    "early_stopping_patience": (
        {"save_strategy": "epoch", "load_best_model_at_end": True, "early_stopping_patience": 2},
    ),
    "metric_for_best_model": (
        {"save_strategy": "epoch", "load_best_model_at_end": True, "metric_for_best_model": "accuracy"},
    ),
}


def examples(name: str) -> Iterator[dict[str, Any]]:
    """Other values of a setting, with the other settings that they need."""
    field = RunConfig.model_fields[name]
    default = getattr(RunConfig.build("quick", **PLAIN), name)
    if name in EXAMPLES:
        yield from EXAMPLES[name]
    elif isinstance(default, bool):
        yield {name: not default}
    elif get_origin(field.annotation) is Literal:
        for value in get_args(field.annotation):
            if value not in (default, "steps"):
                yield {name: value} | ({"lr_scheduler_kwargs": NEEDED[value]} if value in NEEDED else {})
    else:
        yield {name: default / 2 if isinstance(default, float) else default + 1}


def cost(name: str) -> str:
    """What a setting's other values cost in the manual loop, in lines of the loop specialized for them."""
    script = package_script("manual")
    before = folded_source(script, RunConfig.build("quick", **PLAIN))
    costs: dict[str, list[str]] = {}
    for settings in examples(name):
        new, gone = changed_lines(before, folded_source(script, RunConfig.build("quick", **{**PLAIN, **settings})))
        text = "its line" if len(new) == len(gone) == 1 else f"+{len(new)} -{len(gone)}"
        if not new and not gone:
            text = "nothing"
        others = [f"{option(other)} {show(value)}" for other, value in settings.items() if other != name]
        value = f"`{show(settings[name])}`" + (f" (with `{' '.join(others)}`)" if others else "")
        costs.setdefault(text, []).append(value)
    return "; ".join(f"{', '.join(values)}: {text}" for text, values in costs.items())


def settings_page() -> str:
    """`docs/settings.md`: every setting, from its declaration, with what it costs in the manual loop."""
    tables = {
        section: [
            (option(name), meaning(name), values_by_preset(name), cost(name) if is_in_the_loop(name) else "-")
            for name in names
        ]
        for section, names in sections().items()
    }
    return page("settings.md", tables=tables)


def with_loops(text: str) -> str:
    """The README's text with the current source of the loops that it prints."""
    for name in SHOWN_LOOPS:
        source = (ROOT / name).read_text(encoding="utf-8").rstrip()
        begin = f"<!-- {name}: printed by `make docs` -->"
        block = f"{begin}\n```python\n{source}\n```"
        text = re.sub(rf"{re.escape(begin)}\n```python\n.*?\n```", lambda _, block=block: block, text, flags=re.DOTALL)
    return text


def take_screenshots(report: Path, folder: Path) -> None:
    """The report's beginning in light mode and its code in dark mode: `report.png`, `report-code.png`.

    Needs playwright and a Chromium in the path.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        script = browser.new_page(viewport=SIZE, color_scheme="light")
        script.goto(report.resolve().as_uri())
        script.screenshot(path=folder / "report.png")
        script.emulate_media(color_scheme="dark")
        script.locator("#row-clip .opener").click()
        script.locator('#row-clip input[value="gradient norm"]').check()
        script.evaluate("document.getElementById('row-forward').scrollIntoView()")
        script.screenshot(path=folder / "report-code.png")
        browser.close()


# The charts that the lesson needs, and what each shows, in a few words.
SHOWN_CHARTS = {
    "losses": "Training loss of each step: the curves of both loops coincide",
    "difference": "The difference of the two losses: 0 at every step",
    "gradient-norm": "The gradients' norm before the clip, at each step",
    "accuracy": "Validation accuracy after each epoch, the same for both loops",
    "confusion": "How many reviews of each class are classified as which",
    "dials": "How many lines of the manual loop each argument of Trainer replaces",
}


def main() -> None:
    """Write the loops into the README, and the table of settings, the lesson and the pictures into `docs/`."""
    README.write_text(with_loops(README.read_text(encoding="utf-8")), encoding="utf-8")
    (DOCS / "settings.md").write_text(settings_page(), encoding="utf-8")
    announce(f"loops printed in {README.name}, settings.md written to {DOCS.name}/")
    if not (RUN / "report.html").exists():
        sys.exit(f"no {RUN}/report.html: run `make compare` first, the pictures are made from it")
    shutil.copy(RUN / "comparison.png", DOCS / "comparison.png")
    take_screenshots(RUN / "report.html", DOCS)
    for kind in SHOWN_CHARTS:
        (DOCS / "charts" / f"{kind}.svg").write_bytes(chart_of([RUN], kind).content("svg"))
    quality = measure(RUN).loops["manual"].rate.sentence()
    text = page("lesson.md", charts=SHOWN_CHARTS, phases=PHASES, measured=read_measured(), quality=quality)
    (DOCS / "lesson.md").write_text(text, encoding="utf-8")
    announce(f"pictures and lesson.md written to {DOCS.name}/")


if __name__ == "__main__":
    main()
