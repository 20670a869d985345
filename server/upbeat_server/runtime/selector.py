"""Selectors: a bounded part of CEL over an agent's labels, compiled to predicates.

A selector comes from a caller and runs against every agent; ``expression.py`` bounds
what it may cost. A predicate is total: whatever goes wrong while it runs, the agent
does not match.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from upbeat_server.engine import reasons
from upbeat_server.engine.model import Predicate, Refusal
from upbeat_server.runtime import expression
from upbeat_server.runtime.refused import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    import cel

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


@lru_cache(maxsize=expression.CACHED_MAX)
def _compiled(text: str) -> Predicate | str:
    """The predicate, or what is wrong. Both are cached: a flood of bad ones is cheap."""
    program = expression.compiled(text, "labels")
    if isinstance(program, str):
        return program
    names = {a or b or c for a, b, c in _LABEL_NAME.findall(text)}
    samples: tuple[dict[str, str], ...] = (dict.fromkeys(names, ""), dict.fromkeys(names, "1"), {})
    # One that fails on all samples may still be right.
    if not all(isinstance(answer, bool) for answer in expression.answers(program, "labels", samples)):
        return "it does not give true or false"
    return _predicate(program)


def _predicate(program: cel.Program) -> Predicate:
    def matches(labels: Mapping[str, str]) -> bool:
        return expression.is_true(program, "labels", dict(labels))

    return matches


def _always(_labels: Mapping[str, str]) -> bool:
    return True
