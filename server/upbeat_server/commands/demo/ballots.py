"""How a reviewer of the demo votes for the riskiest of some files.

All read the same files, each through a lens of its own, as reviewers do: they
differ in what they take for a risk. Pure but for reading the files.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from upbeat_server.commands.demo.reviews import (
    FUNCTIONS,
    Function,
    Module,
    Unreadable,
    complexity_of,
    definitions,
    documentation_of,
    parsed,
)

_DEEPER = (
    ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.TryStar, ast.match_case,
)  # fmt: skip
_SCOPES = (*FUNCTIONS, ast.ClassDef, ast.Lambda)


@dataclass(frozen=True)
class Shortlist:
    """The files of which one is the riskiest."""

    modules: list[Module]


@dataclass(frozen=True)
class Ballot:
    """A vote: for which module, through which lens, and what was seen there."""

    module: str
    lens: str
    score: int
    why: str


Sight = tuple[int, str]
"""How much of a risk, and in words."""


def ballot_of(shortlist: Shortlist, lens: str) -> Ballot | None:
    """The vote for the file with the most of what the lens shows, the first of equals.

    None where no file can be parsed. Raises KeyError for a lens that does not exist.
    """
    look = LENSES[lens]
    best: Ballot | None = None
    for module in shortlist.modules:
        try:
            _, tree = parsed(module)
        except Unreadable:
            continue
        score, why = look(tree)
        if best is None or score > best.score:
            best = Ballot(module.name, lens, score, why)
    return best


def nesting_of(function: Function) -> int:
    """How deep its blocks stand in each other; ``elif`` is no deeper than its ``if``."""
    deepest = 0
    stack: list[tuple[ast.AST, int]] = [(child, 0) for child in function.body]
    while stack:
        node, depth = stack.pop()
        if isinstance(node, _SCOPES):
            continue
        inner = depth + isinstance(node, _DEEPER)
        deepest = max(deepest, inner)
        chained = node.orelse if isinstance(node, ast.If) and len(node.orelse) == 1 else []
        for child in ast.iter_child_nodes(node):
            is_elif = isinstance(child, ast.If) and child in chained
            stack.append((child, depth if is_elif else inner))
    return deepest


def variables_of(function: Function) -> int:
    """How many different names it binds; those of functions inside are theirs."""
    names: set[str] = set()
    stack: list[ast.AST] = list(function.body)
    while stack:
        node = stack.pop()
        if isinstance(node, _SCOPES):
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        stack.extend(ast.iter_child_nodes(node))
    return len(names)


def _length_of(function: Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def _worst_function(measure: Callable[[Function], int], unit: str) -> Callable[[ast.Module], Sight]:
    """A lens that shows the function with the most of something."""

    def look(tree: ast.Module) -> Sight:
        seen: Iterable[tuple[int, str]] = (
            (measure(node), name) for name, node in definitions(tree) if isinstance(node, FUNCTIONS)
        )
        score, name = max(seen, key=lambda one: one[0], default=(0, ""))
        return score, f"{name}: {score} {unit}" if name else "no function"

    return look


def _undocumented(tree: ast.Module) -> Sight:
    public, documented = documentation_of(tree)
    return public - documented, f"{public - documented} of {public} public names without docstring"


LENSES: dict[str, Callable[[ast.Module], Sight]] = {
    "branches": _worst_function(complexity_of, "paths"),
    "nesting": _worst_function(nesting_of, "blocks deep"),
    "variables": _worst_function(variables_of, "variables"),
    "docstrings": _undocumented,
    "length": _worst_function(_length_of, "lines"),
}
