"""What the agents of the demo do: real reviews of Python source, one function a skill.

Pure but for reading the one file they are given. A file that cannot be read or
parsed is a finding (``problem``), never an exception: the standard library holds
several on purpose. Walks keep their own stack, because generated code nests
deeper than Python recurses.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

WORST_KEPT = 3
Function = ast.FunctionDef | ast.AsyncFunctionDef
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_BRANCHES = (
    ast.If, ast.IfExp, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.comprehension, ast.match_case,
)  # fmt: skip
_BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")


@dataclass(frozen=True)
class Module:
    """A file to review: where it is, its dotted name, the package it belongs to."""

    path: str
    name: str
    package: str


@dataclass(frozen=True)
class Shape:
    """What a file consists of."""

    module: str
    lines: int = 0
    functions: int = 0
    classes: int = 0
    problem: str = ""


@dataclass(frozen=True)
class FunctionScore:
    """A function and its cyclomatic complexity: 1 and one for each branch."""

    name: str
    line: int
    complexity: int


@dataclass(frozen=True)
class Complexity:
    """How complex a file's functions are; ``worst`` first."""

    module: str
    functions: int = 0
    total: int = 0
    worst: list[FunctionScore] = field(default_factory=list)
    problem: str = ""


@dataclass(frozen=True)
class Docstrings:
    """How many of the public names of a file say what they are."""

    module: str
    public: int = 0
    documented: int = 0
    problem: str = ""


@dataclass(frozen=True)
class Imports:
    """Which modules a file imports, by absolute name, sorted."""

    module: str
    imports: list[str] = field(default_factory=list)
    problem: str = ""


@dataclass(frozen=True)
class Package:
    """All findings about the files of one package: what a summary is made of."""

    name: str
    shapes: list[Shape]
    complexities: list[Complexity]
    docstrings: list[Docstrings]
    imports: list[Imports]


@dataclass(frozen=True)
class Summary:
    """One package in figures. ``docstring_share`` is -1 where nothing is public."""

    package: str
    modules: int
    lines: int
    functions: int
    mean_complexity: float
    most_complex: str
    docstring_share: float
    imports: int
    most_imported: list[str]
    problems: int


class Unreadable(Exception):
    """A file that is not Python source, in one line."""


def parsed(module: Module) -> tuple[bytes, ast.Module]:
    """The source of a file and its syntax tree; raises Unreadable."""
    try:
        source = Path(module.path).read_bytes()
        return source, ast.parse(source)
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror}") from None
    except SyntaxError as error:
        where = f"line {error.lineno}: " if error.lineno else ""
        raise Unreadable(f"{where}{error.msg}") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise Unreadable(str(error) or type(error).__name__) from None


def review_shape(module: Module) -> Shape:
    """Lines, functions and classes."""
    try:
        source, tree = parsed(module)
    except Unreadable as problem:
        return Shape(module.name, problem=str(problem))
    kinds = Counter(type(node) for _, node in definitions(tree))
    functions = sum(kinds[kind] for kind in FUNCTIONS)
    lines = source.count(b"\n") + (not source.endswith(b"\n") and bool(source))
    return Shape(module.name, lines=lines, functions=functions, classes=kinds[ast.ClassDef])


def review_complexity(module: Module) -> Complexity:
    """Cyclomatic complexity of every function."""
    try:
        _, tree = parsed(module)
    except Unreadable as problem:
        return Complexity(module.name, problem=str(problem))
    scores = [
        FunctionScore(name, node.lineno, complexity_of(node))
        for name, node in definitions(tree)
        if isinstance(node, FUNCTIONS)
    ]
    worst = sorted(scores, key=lambda score: (-score.complexity, score.line))[:WORST_KEPT]
    return Complexity(module.name, len(scores), sum(score.complexity for score in scores), worst)


def review_docstrings(module: Module) -> Docstrings:
    """How many public classes, functions and methods, and the module itself, have a docstring."""
    try:
        _, tree = parsed(module)
    except Unreadable as problem:
        return Docstrings(module.name, problem=str(problem))
    return Docstrings(module.name, *documentation_of(tree))


def review_imports(module: Module) -> Imports:
    """The modules that a file imports, wherever in it the statement stands."""
    try:
        _, tree = parsed(module)
    except Unreadable as problem:
        return Imports(module.name, problem=str(problem))
    found: set[str] = set()
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.add(_absolute(node, module))
    return Imports(module.name, sorted(name for name in found if name))


def summarize(package: Package) -> Summary:
    """One package in figures, from what the reviews found."""
    functions = sum(review.functions for review in package.complexities)
    total = sum(review.total for review in package.complexities)
    scores = [(score, review.module) for review in package.complexities for score in review.worst]
    worst = max(scores, key=lambda pair: pair[0].complexity, default=None)
    public = sum(review.public for review in package.docstrings)
    documented = sum(review.documented for review in package.docstrings)
    imported = Counter(name for review in package.imports for name in review.imports)
    own = (package.name, f"{package.name}.")
    outside = Counter(
        {name: n for name, n in imported.items() if name != own[0] and not name.startswith(own[1])}
    )
    return Summary(
        package=package.name,
        modules=len(package.shapes),
        lines=sum(shape.lines for shape in package.shapes),
        functions=functions,
        mean_complexity=round(total / functions, 2) if functions else 0.0,
        most_complex=f"{worst[1]}.{worst[0].name} ({worst[0].complexity})" if worst else "",
        docstring_share=round(documented / public, 4) if public else -1.0,
        imports=len(outside),
        most_imported=[name for name, _ in sorted(outside.items(), key=lambda item: (-item[1], item[0]))[:3]],
        problems=sum(bool(shape.problem) for shape in package.shapes),
    )


def documentation_of(tree: ast.Module) -> tuple[int, int]:
    """How many public names there are, the module itself included, and how many have a docstring."""
    public: list[ast.Module | ast.ClassDef | Function] = [tree]
    public += [
        node for name, node in _interface(tree) if not any(part.startswith("_") for part in name.split("."))
    ]
    return len(public), sum(ast.get_docstring(node, clean=False) is not None for node in public)


def complexity_of(function: Function) -> int:
    """Cyclomatic complexity: 1 and one for each branch; functions inside are not counted in."""
    score = 1
    stack: list[ast.AST] = list(function.body)
    while stack:
        node = stack.pop()
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            continue
        if isinstance(node, ast.BoolOp):
            score += len(node.values) - 1
        elif isinstance(node, _BRANCHES):
            score += 1
            if isinstance(node, ast.comprehension):
                score += len(node.ifs)
        stack.extend(ast.iter_child_nodes(node))
    return score


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    """Every statement; expressions are not entered."""
    stack = [tree]
    while stack:
        node = stack.pop()
        yield node
        for block in _BLOCKS:
            inner = getattr(node, block, None)
            if isinstance(inner, list):
                stack.extend(reversed(inner))


def definitions(tree: ast.Module) -> Iterator[tuple[str, ast.ClassDef | Function]]:
    """Every class and function with its qualified name, in the order of the file."""
    yield from _defined(tree, enter_functions=True)


def _interface(tree: ast.Module) -> Iterator[tuple[str, ast.ClassDef | Function]]:
    """As ``_definitions``, but without what is inside functions: nobody else can call that."""
    yield from _defined(tree, enter_functions=False)


def _defined(tree: ast.Module, *, enter_functions: bool) -> Iterator[tuple[str, ast.ClassDef | Function]]:
    stack: list[tuple[str, ast.AST]] = [("", tree)]
    while stack:
        prefix, node = stack.pop()
        if isinstance(node, (ast.ClassDef, *FUNCTIONS)):
            name = f"{prefix}{node.name}"
            yield name, node
            if isinstance(node, FUNCTIONS) and not enter_functions:
                continue
            prefix = f"{name}."
        for block in reversed(_BLOCKS):
            inner = getattr(node, block, None)
            if isinstance(inner, list):
                stack.extend((prefix, each) for each in reversed(inner))


def _absolute(node: ast.ImportFrom, module: Module) -> str:
    """The name of the module that ``from ... import`` reads, relative dots resolved."""
    if not node.level:
        return node.module or ""
    is_package = Path(module.path).name == "__init__.py"
    parts = module.name.split(".")
    kept = len(parts) - node.level + is_package
    return ".".join([*parts[: max(0, kept)], *([node.module] if node.module else [])])
