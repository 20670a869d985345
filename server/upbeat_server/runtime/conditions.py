"""The conditions of a collaboration and of all below it, compiled, by their text."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from upbeat_server.engine.collaboration.steps import steps_of
from upbeat_server.engine.model import Competitive
from upbeat_server.runtime.check import compile_check
from upbeat_server.runtime.refused import Refused
from upbeat_server.runtime.selector import compile_selector

if TYPE_CHECKING:
    from collections.abc import Callable

    from upbeat_server.engine.collaboration.mode import Check
    from upbeat_server.engine.model import Labels, Payload, Predicate, Refusal, TaskSpec

Conditions: TypeAlias = "tuple[dict[str, Predicate], dict[str, Check]]"
"""Selectors and checks."""


def conditions_of(spec: TaskSpec, lost: Callable[[Refusal], None]) -> Conditions:
    """Selectors of all steps and checks of all competitions.

    One that does not compile is told to ``lost`` and never holds; the door lets none in.
    """
    predicates: dict[str, Predicate] = {}
    checks: dict[str, Check] = {}
    for part in (spec, *steps_of(spec)):
        if part.selector and part.selector not in predicates:
            predicates[part.selector] = selector_or_never(part.selector, lost)
        mode = None if part.collaboration is None else part.collaboration.mode
        if isinstance(mode, Competitive) and mode.accept and mode.accept not in checks:
            try:
                checks[mode.accept] = compile_check(mode.accept)
            except Refused as error:
                lost(error.refusal)
                checks[mode.accept] = _never_passes
    return predicates, checks


def selector_or_never(text: str, lost: Callable[[Refusal], None]) -> Predicate:
    """The predicate of a selector; one that does not compile matches no agent."""
    try:
        return compile_selector(text)
    except Refused as error:
        lost(error.refusal)
        return _never_matches


def _never_matches(_labels: Labels) -> bool:
    return False


def _never_passes(_output: Payload) -> bool:
    return False
