"""Changing a script's text where its syntax tree says, so that comments and layout stay."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import Any


def replaced(source: str, changes: Iterable[tuple[ast.AST, str]]) -> str:
    """A text with the places of some nodes of its tree replaced; of places within each other the outer one counts."""
    text = source.encode()
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))

    def span(node: Any) -> tuple[int, int]:
        return starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset

    begun = len(text) + 1
    for (start, end), new in sorted(
        ((span(node), new) for node, new in changes), key=lambda each: (-each[0][1], each[0][0])
    ):
        if end <= begun:
            text, begun = text[:start] + new.encode() + text[end:], start
    return text.decode()


def parents_in(tree: ast.AST) -> dict[ast.AST, ast.AST]:
    """Each node's parent."""
    return {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}


def names_in(node: ast.AST) -> set[str]:
    """The names and dotted names that a piece of code mentions."""
    return {ast.unparse(each) for each in ast.walk(node) if isinstance(each, (ast.Name, ast.Attribute))}
