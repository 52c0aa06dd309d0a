"""Replace parts of a script's text by the nodes of its syntax tree, so that comments and layout stay."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable
from typing import Any


def replace_nodes(source: str, changes: Iterable[tuple[ast.AST, str]]) -> str:
    """A text in which some nodes of its tree are replaced; of two nested nodes only the outer one is replaced."""
    text = source.encode()
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))

    def span(node: Any) -> tuple[int, int]:
        return starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset

    next_start = len(text) + 1
    for (start, end), new in sorted(
        ((span(node), new) for node, new in changes), key=lambda change: (-change[0][1], change[0][0])
    ):
        if end <= next_start:
            text, next_start = text[:start] + new.encode() + text[end:], start
    return text.decode()


def place(line: int, column: int, end_line: int, end_column: int) -> ast.Name:
    """A node that only has a place in the text; lines count from 1, columns in bytes from 0."""
    return ast.Name("", lineno=line, col_offset=column, end_lineno=end_line, end_col_offset=end_column)


def parents_in(tree: ast.AST) -> dict[ast.AST, ast.AST]:
    """Each node's parent."""
    return {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}


def names_in(node: ast.AST) -> set[str]:
    """The names and dotted names that a piece of code mentions."""
    return {ast.unparse(part) for part in ast.walk(node) if isinstance(part, (ast.Name, ast.Attribute))}


def filler(node: ast.stmt, parents: dict[ast.AST, ast.AST], gone: Collection[ast.stmt] = ()) -> str:
    """The text that replaces a removed statement, where `gone` are removed, too."""
    block = block_of(node, parents)
    return "pass" if node is block[0] and all(statement is node or statement in gone for statement in block) else ""


def block_of(node: ast.stmt, parents: dict[ast.AST, ast.AST]) -> list[ast.stmt]:
    """The block of statements that a statement belongs to."""
    blocks = (getattr(parents[node], part, []) for part in ("body", "orelse", "finalbody", "handlers"))
    return next((block for block in blocks if isinstance(block, list) and node in block), [node])
