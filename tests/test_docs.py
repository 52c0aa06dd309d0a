"""What the README says about the code is what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.docs import README, with_dials

TEXT = README.read_text(encoding="utf-8")


def test_the_table_of_dials_is_up_to_date() -> None:
    assert with_dials(TEXT) == TEXT, "run `make docs`"


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\((?!http|#)([^)#]+)", TEXT))))
def test_links_lead_somewhere(target: str) -> None:
    assert (README.parent / target).exists()


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`make ([a-z-]+)", TEXT))))
def test_make_targets_exist(target: str) -> None:
    assert re.search(rf"^{target}:", Path("Makefile").read_text(), re.MULTILINE)
