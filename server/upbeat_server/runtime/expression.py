"""A bounded part of CEL over one variable, for conditions that come from callers.

What one may cost is bounded before it is compiled: its length, its nesting, its
macros (a few, never one inside another) and its functions (none that compiles a
regular expression or makes long strings). A macro over a large value may not look at
the whole of it for each element: 64,000 numbers would take a minute.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import cel

if TYPE_CHECKING:
    from collections.abc import Iterable

EXPRESSION_BYTES_MAX = 1_024
NESTING_MAX = 16
OPERATORS_MAX = 128
COMMAS_MAX = 64
MACROS_MAX = 2
CACHED_MAX = 2_048
"""Compiled conditions of one kind that are remembered."""

FUNCTIONS = frozenset(
    {"size", "contains", "startsWith", "endsWith", "int", "uint", "double", "string", "bool", "dyn", "has"}
)
MACROS = frozenset({"all", "exists", "exists_one", "map", "filter"})

_TOKEN = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<text>[rR]?[bB]?(?:\"\"\"(?:\\.|[^\\])*?\"\"\"|'''(?:\\.|[^\\])*?'''
             |"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'))
  | (?P<number>\d[\w.]*)
  | (?P<name>[A-Za-z_]\w*)
  | (?P<open>[(\[{])
  | (?P<close>[)\]}])
  | (?P<comma>,)
  | (?P<operator>&&|\|\||[=!<>]=|[!<>?:+\-*/%])
  | (?P<dot>\.)
    """,
    re.VERBOSE | re.DOTALL,
)
_OPERATOR_NAME = re.compile(r"^(?:[@!_]|-_).*")


def compiled(text: str, variable: str, *, is_large: bool = False) -> cel.Program | str:
    """The program of an expression over ``variable``, or what is wrong with the text.

    ``is_large``: its value may be, so no macro may name it inside.
    """
    if len(text.encode("utf-8", "surrogatepass")) > EXPRESSION_BYTES_MAX:
        return f"it is longer than {EXPRESSION_BYTES_MAX} bytes"
    bound_names: set[str] = set()
    fault = _shape_fault(text, bound_names, variable if is_large else "")
    if fault:
        return fault
    try:
        program = cel.compile(text)
        references = program.references()
    except BaseException as error:
        _reraise_if_ours(error)
        return "it does not parse as CEL"
    for name in references["functions"]:
        if name not in FUNCTIONS and not _OPERATOR_NAME.match(name):
            return f"it calls {name}; only {', '.join(sorted(FUNCTIONS))} are offered"
    for name in references["variables"]:
        if name != variable and name not in bound_names:
            return f"it names {name}; only {variable} is known"
    return program


def is_true(program: cel.Program, variable: str, value: Any) -> bool:
    """Whether it gives true. Whatever goes wrong while it runs is no."""
    try:
        return program.execute({variable: value}) is True
    except BaseException as error:
        _reraise_if_ours(error)
        return False


def answers(program: cel.Program, variable: str, samples: Iterable[Any]) -> list[Any]:
    """What it gives for samples, without those that it fails on."""
    given = []
    for sample in samples:
        try:
            given.append(program.execute({variable: sample}))
        except BaseException as error:
            _reraise_if_ours(error)
    return given


def _shape_fault(text: str, bound_names: set[str], large: str) -> str:
    """What makes it too costly, or ""; collects the variables that macros bind.

    ``large`` is the variable that no macro may name inside; "" for none.
    """
    position = depth = operators = commas = macros = macro_depth = 0
    after_dot = False
    macro = binding = False
    while position < len(text):
        token = _TOKEN.match(text, position)
        if token is None:
            return f"character {position + 1} is not part of an expression"
        position = token.end()
        kind, word = token.lastgroup, token.group()
        if kind == "space":
            continue
        if kind == "open":
            depth += 1
            if depth > NESTING_MAX:
                return f"it nests deeper than {NESTING_MAX}"
            if macro and word == "(":
                macros += 1
                if macro_depth:
                    return "it has a macro inside another"
                if macros > MACROS_MAX:
                    return f"it has more than {MACROS_MAX} macros"
                macro_depth, binding = depth, True
                macro = after_dot = False
                continue
        elif kind == "close":
            if depth == macro_depth:
                macro_depth = 0
            depth -= 1
        elif kind == "comma":
            commas += 1
        elif kind == "operator":
            operators += 1
        elif kind == "name" and macro_depth and word == large and not after_dot:
            return f"it names {large} inside a macro: only what the macro binds may be looked at there"
        elif kind == "name" and binding:
            bound_names.add(word)
        if commas > COMMAS_MAX or operators > OPERATORS_MAX:
            return f"it has more than {COMMAS_MAX} commas or {OPERATORS_MAX} operators"
        macro = kind == "name" and after_dot and word in MACROS
        binding = False
        after_dot = kind == "dot"
    return ""


def _reraise_if_ours(error: BaseException) -> None:
    """A panic of the CEL library derives from BaseException and is an answer, too."""
    if isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError)):
        raise error
