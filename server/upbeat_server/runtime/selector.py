"""Selectors: a bounded part of CEL over an agent's labels, compiled to predicates.

A selector comes from a caller and runs against every agent, so what it may cost
is bounded before it is compiled: its length, its nesting, its macros (a few,
never one inside another) and its functions (none that compiles a regular
expression or makes long strings). A predicate is total: whatever goes wrong
while it runs, the agent does not match.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

import cel

from upbeat_server.engine import reasons
from upbeat_server.engine.model import Predicate, Refusal
from upbeat_server.runtime.refused import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

SELECTOR_BYTES_MAX = 1_024
NESTING_MAX = 16
OPERATORS_MAX = 128
COMMAS_MAX = 64
MACROS_MAX = 2
CACHED_MAX = 2_048

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
_LABEL_NAME = re.compile(r"""labels\s*(?:\.\s*([A-Za-z_]\w*)|\[\s*(?:"([^"\\]*)"|'([^'\\]*)')\s*\])""")


def compile_selector(text: str) -> Predicate:
    """The predicate of a selector. Raises Refused (INVALID_SELECTOR); cached."""
    if not text:
        return _always
    outcome = _compiled(text)
    if isinstance(outcome, str):
        description = f'{outcome}; write, for example, labels.region == "eu"'
        raise Refused(
            Refusal(
                reasons.INVALID_SELECTOR,
                f"spec.selector: {description}",
                violations=(("spec.selector", description),),
            )
        )
    return outcome


@lru_cache(maxsize=CACHED_MAX)
def _compiled(text: str) -> Predicate | str:
    """The predicate, or what is wrong. Both are cached: a flood of bad ones is cheap."""
    if len(text.encode("utf-8", "surrogatepass")) > SELECTOR_BYTES_MAX:
        return f"it is longer than {SELECTOR_BYTES_MAX} bytes"
    bound_names: set[str] = set()
    fault = _shape_fault(text, bound_names)
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
        if name != "labels" and name not in bound_names:
            return f"it names {name}; only labels is known"
    if not _gives_bool(program, text):
        return "it does not give true or false"
    return _predicate(program)


def _shape_fault(text: str, bound_names: set[str]) -> str:
    """What makes it too costly, or ""; collects the variables that macros bind."""
    position = depth = operators = commas = macros = macro_depth = 0
    after_dot = False
    macro = binding = False
    while position < len(text):
        token = _TOKEN.match(text, position)
        if token is None:
            return f"character {position + 1} is not part of a selector"
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
        elif kind == "name" and binding:
            bound_names.add(word)
        if commas > COMMAS_MAX or operators > OPERATORS_MAX:
            return f"it has more than {COMMAS_MAX} commas or {OPERATORS_MAX} operators"
        macro = kind == "name" and after_dot and word in MACROS
        binding = False
        after_dot = kind == "dot"
    return ""


def _gives_bool(program: cel.Program, text: str) -> bool:
    """Whether samples give a boolean. One that fails on all samples may still be right."""
    names = {a or b or c for a, b, c in _LABEL_NAME.findall(text)}
    for sample in (dict.fromkeys(names, ""), dict.fromkeys(names, "1"), {}):
        try:
            answer = program.execute({"labels": sample})
        except BaseException as error:
            _reraise_if_ours(error)
            continue
        if not isinstance(answer, bool):
            return False
    return True


def _predicate(program: cel.Program) -> Predicate:
    def matches(labels: Mapping[str, str]) -> bool:
        try:
            return program.execute({"labels": dict(labels)}) is True
        except BaseException as error:
            _reraise_if_ours(error)
            return False

    return matches


def _reraise_if_ours(error: BaseException) -> None:
    """A panic of the CEL library derives from BaseException and is an answer, too."""
    if isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError)):
        raise error


def _always(_labels: Mapping[str, str]) -> bool:
    return True
