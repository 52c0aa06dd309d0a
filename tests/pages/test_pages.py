"""The product's two pages: the same lesson twice, and nothing on them that is not the lesson."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import transformers

from benchmarks.pages.alignment import stretches
from shared import releases

PAGES = {"manual": Path("manual_loop/train.py"), "trainer": Path("trainer_loop/train.py")}


def phases(script: Path) -> list[str]:
    """The phases that the page's comments name, each once, in the order of their first appearance."""
    return list(dict.fromkeys(stretch.phase for stretch in stretches(script.read_text())))


def imports(script: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_both_pages_name_the_same_phases() -> None:
    manual, trainer = phases(PAGES["manual"]), phases(PAGES["trainer"])
    # The manual loop passes no arguments; what else only one loop has happens inside the other's one call.
    assert set(trainer) - set(manual) == {"arguments"}
    assert set(manual) - set(trainer) == {"train mode", "backward", "step", "schedule step", "zero"}
    both = [phase for phase in manual if phase in trainer]
    assert both[:6] == ["page", "imports", "function", "seed", "data", "model"] and len(both) >= 17


@pytest.mark.parametrize("script", PAGES.values(), ids=PAGES)
def test_two_pages_fit_side_by_side(script: Path) -> None:
    lines = script.read_text().splitlines()
    assert len(lines) <= 200 and max(map(len, lines)) <= 88


@pytest.mark.parametrize("script", PAGES.values(), ids=PAGES)
def test_no_page_records_or_measures(script: Path) -> None:
    names = {node.id for node in ast.walk(ast.parse(script.read_text())) if isinstance(node, ast.Name)}
    names |= {node.attr for node in ast.walk(ast.parse(script.read_text())) if isinstance(node, ast.Attribute)}
    assert not {name for name in names if "record" in name.lower() or "hook" in name or "perf_counter" in name}
    assert not any("record" in name or name.startswith("benchmarks") for name in imports(script))


def test_the_manual_page_uses_no_trainer_and_no_accelerate() -> None:
    """What it imports imports neither: command/test_install.py."""
    assert not any("Trainer" in name or "accelerate" in name for name in imports(PAGES["manual"]))


def test_the_trainer_page_uses_trainer_as_it_is() -> None:
    tree = ast.parse(PAGES["trainer"].read_text())
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    assert "transformers.Trainer" in imports(PAGES["trainer"])
    # From the one place that knows older names; on today's release it is transformers' own class.
    if releases.INSTALLED >= (5, 23):
        assert releases.TrainingArguments is transformers.TrainingArguments
    assert not any(name.startswith(("manual_loop", "benchmarks")) for name in imports(PAGES["trainer"]))


def test_no_loop_is_imported_by_what_it_must_not_know() -> None:
    for folder, forbidden in {
        "shared": ("manual_loop", "trainer_loop", "benchmarks"),
        "manual_loop": ("trainer_loop", "benchmarks", "accelerate"),
        "trainer_loop": ("manual_loop", "benchmarks"),
    }.items():
        for path in Path(folder).glob("*.py"):
            assert not [name for name in imports(path) if name.startswith(forbidden)], path
