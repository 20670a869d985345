"""Checks: a bounded part of CEL over the JSON of an output, compiled to conditions.

A check comes from a caller and runs in the loop against outputs of agents, which
``expression.py`` and a bound on the output keep short. It is total: an output that
is too large or no JSON does not pass, nor does one on which the check fails.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from upbeat_server.engine import reasons
from upbeat_server.engine.model import Refusal
from upbeat_server.runtime import expression
from upbeat_server.runtime.refused import Refused

if TYPE_CHECKING:
    from upbeat_server.engine.collaboration.mode import Check
    from upbeat_server.engine.model import Payload

OUTPUT_BYTES_MAX = 128 << 10
"""Of an output that is looked at: CEL takes 0.2 ms for a KiB of small values, and everybody waits."""

_FIELD_NAME = re.compile(r"output\s*\.\s*([A-Za-z_]\w*)")
_decode = msgspec.json.decode


def compile_check(text: str) -> Check:
    """The check of an expression. Raises Refused (INVALID_FIELD); cached."""
    outcome = _compiled(text)
    if isinstance(outcome, str):
        description = f"{outcome}; write, for example, output.score > 0.8"
        raise Refused(
            Refusal(reasons.INVALID_FIELD, f"accept: {description}", violations=(("accept", description),))
        )
    return outcome


@lru_cache(maxsize=expression.CACHED_MAX)
def _compiled(text: str) -> Check | str:
    """The check, or what is wrong. Both are cached: a flood of bad ones is cheap."""
    program = expression.compiled(text, "output", is_large=True)
    if isinstance(program, str):
        return program
    names = set(_FIELD_NAME.findall(text))
    values: tuple[Any, ...] = (True, 1.5, "1", [])
    samples = (True, *(dict.fromkeys(names, value) for value in values))
    given = expression.answers(program, "output", samples)
    # One that fails on all samples may still be right.
    if given and not any(isinstance(answer, bool) for answer in given):
        return "it does not give true or false"

    def passes(output: Payload) -> bool:
        if len(output.data) > OUTPUT_BYTES_MAX:
            return False
        try:
            value = _decode(output.data)
        except (msgspec.DecodeError, ValueError, RecursionError):
            return False
        return expression.is_true(program, "output", value)

    return passes
