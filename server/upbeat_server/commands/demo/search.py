"""How an agent of the demo searches a tree for a function: the same files in an order of its own.

Which order is the best nobody knows beforehand, which is what a race is for. Pure
but for reading the files.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from upbeat_server.commands.demo import corpus
from upbeat_server.commands.demo.reviews import (
    FUNCTIONS,
    Module,
    Unreadable,
    complexity_of,
    definitions,
    parsed,
)


@dataclass(frozen=True)
class Query:
    """A function to find by its qualified name and complexity, among ``files`` files under a folder.

    ``order`` is one of ORDERS.
    """

    root: str
    files: int
    function: str
    complexity: int
    order: str


@dataclass(frozen=True)
class Found:
    """Where a function is, and how many files were read until then."""

    module: str
    line: int
    files_read: int


def find(query: Query, look_up: Callable[[], None]) -> Found | None:
    """The first file in the order of the query that defines the function; None if none does.

    ``look_up`` is called before each file, and may raise to end the search.
    Raises KeyError for an order that does not exist.
    """
    modules = corpus.few_of(corpus.modules_under(Path(query.root)), query.files)
    defined = re.compile(rb"\bdef\s+" + re.escape(query.function.rpartition(".")[2].encode()) + rb"\b")
    for place, module in enumerate(ORDERS[query.order](modules), 1):
        look_up()
        if (line := _line_in(module, defined, query)) is not None:
            return Found(module.name, line, place)
    return None


def _line_in(module: Module, defined: re.Pattern[bytes], query: Query) -> int | None:
    """Reads the text, and only where that mentions the name, the syntax."""
    try:
        if not defined.search(Path(module.path).read_bytes()):
            return None
        _, tree = parsed(module)
    except (OSError, Unreadable):
        return None
    return next(
        (
            node.lineno
            for name, node in definitions(tree)
            if name == query.function
            and isinstance(node, FUNCTIONS)
            and complexity_of(node) == query.complexity
        ),
        None,
    )


def _size_of(module: Module) -> int:
    try:
        return Path(module.path).stat().st_size
    except OSError:
        return 0


ORDERS: dict[str, Callable[[list[Module]], list[Module]]] = {
    "by-name": lambda modules: modules,
    "backwards": lambda modules: modules[::-1],
    "largest-first": lambda modules: sorted(modules, key=_size_of, reverse=True),
}
