"""What an agent does for one type of task: the user's function, and how to call it."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, overload

from upbeat.skill import In, Out, Skill

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from upbeat.context import Context


@dataclass(frozen=True, slots=True)
class Work:
    """A handler: `function(input)` or `function(input, context)`, async or not."""

    skill: Skill[Any, Any]
    function: Callable[..., Any]
    is_async: bool
    takes_context: bool

    @classmethod
    def of(cls, skill: Skill[Any, Any], function: Callable[..., Any]) -> Work:
        """Look at the function's signature; raises TypeError if it cannot be a handler."""
        try:
            parameters = inspect.signature(function).parameters.values()
        except ValueError as error:
            raise TypeError(f"{function!r} has no signature that can be read") from error
        positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        required = [
            p for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        ]
        if not positional or len(required) > 2 or any(p.kind is p.KEYWORD_ONLY for p in required):
            raise TypeError(f"{function!r}: a handler takes its input and, if it wants, a Context")
        is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
            type(function).__call__
        )
        return cls(skill, function, is_async, len(positional) > 1)


class Registration(Generic[In, Out]):
    """What `agent.on` answers: it takes the handler, checked against the skill, and gives it back."""

    def __init__(self, skill: Skill[In, Out], add: Callable[[Work], None]) -> None:
        self._skill = skill
        self._add = add

    @overload
    def __call__(
        self, function: Callable[[In, Context], Awaitable[Out]]
    ) -> Callable[[In, Context], Awaitable[Out]]: ...

    @overload
    def __call__(self, function: Callable[[In], Awaitable[Out]]) -> Callable[[In], Awaitable[Out]]: ...

    @overload
    def __call__(self, function: Callable[[In, Context], Out]) -> Callable[[In, Context], Out]: ...

    @overload
    def __call__(self, function: Callable[[In], Out]) -> Callable[[In], Out]: ...

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Add the handler; raises TypeError if it cannot be one."""
        self._add(Work.of(self._skill, function))
        return function
