"""Expressions: their text, their values, and whether they have side effects."""

from __future__ import annotations

import ast
import json
from functools import lru_cache
from typing import Any

import libcst as cst

from benchmarks.pages.names import parts_of

# Calls that may be left out, or postponed, if nothing uses their result.
PURE_CALLS = {
    "DataCollatorWithPadding",
    "TrainingState",
    "distributed.get_rank",
    "int",
    "len",
    "math.ceil",
    "max",
    "min",
    "random_states",
    "torch.Generator",
    "torch.accelerator.is_available",
    "torch.tensor",
    "tqdm",
}
PURE_METHODS = {"detach", "item", "items", "parameters"}
# Expressions that never need parentheses.
ATOMS = (cst.Name, cst.Integer, cst.Float, cst.SimpleString, cst.Call, cst.Attribute, cst.Subscript)
NOTHING = object()
_CODE = cst.Module([])


@lru_cache(maxsize=10_000)
def code_of(node: cst.CSTNode) -> str:
    """A node as text; cached, because a node never changes and is needed often."""
    return _CODE.code_for_node(node).strip()


def value_of(node: cst.CSTNode | None) -> Any:
    """The value of a literal, also of a tuple of literals; `NOTHING` for any other node."""
    if isinstance(node, cst.Name):
        return {"True": True, "False": False, "None": None}.get(node.value, NOTHING)
    if isinstance(node, (cst.Integer, cst.Float, cst.SimpleString, cst.UnaryOperation, cst.Tuple)):
        try:
            return ast.literal_eval(code_of(node))
        except ValueError:
            return NOTHING
    return NOTHING


def literal(value: Any) -> cst.BaseExpression:
    """A value as an expression. A float that is whole stays one: `1.0` is not `1`."""
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
    return cst.parse_expression(text.replace("e-0", "e-") if isinstance(value, float) else text)


def in_parentheses(node: cst.BaseExpression) -> cst.BaseExpression:
    """An expression with parentheses, if it has none and needs them where another one stood."""
    if node.lpar or isinstance(node, ATOMS):
        return node
    return node.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])


def in_place_of(old: cst.BaseExpression, new: cst.BaseExpression) -> cst.BaseExpression:
    """`new` in the place of `old`, with parentheses if `old` had some and `new` needs them."""
    return in_parentheses(new) if old.lpar else new


@lru_cache(maxsize=10_000)
def is_pure(node: cst.CSTNode) -> bool:
    """Whether computing it has no side effect."""
    if isinstance(node, (cst.Yield, cst.Await, cst.NamedExpr)):
        return False
    if isinstance(node, cst.Call):
        method = node.func.attr.value if isinstance(node.func, cst.Attribute) else ""
        if code_of(node.func) not in PURE_CALLS and method not in PURE_METHODS:
            return False
    return all(map(is_pure, parts_of(node)))
