"""A script's text, changed where its tree says."""

from __future__ import annotations

import ast

import pytest

from benchmarks.port.script import _guard_main, _rename_taken, _without_dead
from benchmarks.port.text import replace_nodes
from shared.running.notebooks import code_of_notebook


def test_replaced_keeps_all_else_and_takes_the_outer_place() -> None:
    source = "a = f('ü', g(1))  # why\nb = 2\n"
    tree = ast.parse(source)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert replace_nodes(source, [(calls[1], "h()")]) == "a = f('ü', h())  # why\nb = 2\n"
    assert replace_nodes(source, [(calls[1], "h()"), (calls[0], "k()"), (tree.body[1], "")]) == "a = k()  # why\n\n"


@pytest.mark.parametrize(
    ("source", "renamed"),
    [
        ("train, test = split()\nfit(train_set=train)\n", "own_train, test = split()\nfit(train_set=own_train)\n"),
        ("def train(x):\n    return x.train\n\ntrain(1)\n", "def own_train(x):\n    return x.train\n\nown_train(1)\n"),
        ("train(model=m)\n", "train(model=m)\n"),
        ("def f(train):\n    return train\n", "def f(train):\n    return train\n"),
    ],
)
def test_names_that_the_loop_has_get_another_one(source: str, renamed: str) -> None:
    assert _rename_taken(source, {"train"}) == renamed


def test_what_runs_is_under_a_guard_and_strings_stay() -> None:
    source = 'import os\n\n\ndef f():\n    return 1\n\n\n# so\nx = """a\nb"""\nf()\n'
    guarded = _guard_main(source)
    names: dict[str, object] = {"__name__": "imported"}
    exec(guarded, names)
    assert "x" not in names
    names["__name__"] = "__main__"
    exec(guarded, names)
    assert names["x"] == "a\nb"
    assert _guard_main(guarded) == guarded


def test_the_trainers_class_goes_where_nothing_asks_for_it() -> None:
    source = "class T(Trainer):\n    pass\n\nargs = TrainingArguments('o')\nprint(1)\n"
    assert _without_dead(source, {"T"}).split() == ["print(1)"]
    assert _without_dead(source + "T(args)\n", {"T"}) == source + "T(args)\n"


def test_a_notebook_is_its_code() -> None:
    cells = [["%%time\n", "x = 1\n"], ["!ls\n", "if x:\n", "    %matplotlib inline\n"], ["%%bash\n", "ls -la\n"]]
    whole = {
        "cells": [{"cell_type": "code", "source": cell} for cell in cells] + [{"cell_type": "markdown", "source": "#"}]
    }
    import json

    source = code_of_notebook(json.dumps(whole).encode(), "a.ipynb")
    names: dict[str, object] = {}
    exec(source, names)
    assert names["x"] == 1
    assert "ls" not in source
