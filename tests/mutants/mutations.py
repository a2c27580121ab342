"""Small changes of a Python module that change its meaning: one node of its syntax tree each."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from typing import Any

SWAPPED: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.FloorDiv: ast.Mult,
}  # fmt: skip


def mutants(source: str) -> list[tuple[int, str, str]]:
    """Line, description and source of each mutant, in the order of the source."""
    tree = ast.parse(source)
    count = sum(1 for _ in _changes(tree))
    found = []
    for number in range(count):
        changed = copy.deepcopy(tree)
        node, attribute, value = list(_changes(changed))[number]
        before = ast.unparse(node)
        setattr(node, attribute, value)
        found.append((node.lineno, f"{before} -> {ast.unparse(node)}", ast.unparse(changed)))
    return found


def _changes(tree: ast.Module) -> Iterator[tuple[Any, str, Any]]:
    """Node, attribute and its other value, inside functions: classes and constants are declarations."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    inner = {id(node) for each in functions for node in ast.walk(each) if node is not each}
    for function in (each for each in functions if id(each) not in inner):
        for statement in function.body:
            for node in ast.walk(statement):
                yield from _of(node)


def _of(node: ast.AST) -> Iterator[tuple[Any, str, Any]]:
    if isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPPED:
        yield node, "ops", [SWAPPED[type(node.ops[0])](), *node.ops[1:]]
    elif isinstance(node, ast.BoolOp | ast.BinOp) and type(node.op) in SWAPPED:
        yield node, "op", SWAPPED[type(node.op)]()
    elif isinstance(node, ast.If | ast.IfExp):
        yield node, "test", ast.UnaryOp(ast.Not(), node.test)
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield node, "value", not node.value
    elif isinstance(node, ast.Constant) and isinstance(node.value, int):
        yield node, "value", node.value + 1
    elif isinstance(node, ast.Return) and node.value is not None and not isinstance(node.value, ast.Constant):
        yield node, "value", ast.Constant(None)
