"""A step of a collaboration: a kind of work with what this place asks of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, Unpack, overload

from upbeat.collaboration.bound import Bound
from upbeat.skill import In, Kind, Out, as_kind
from upbeat.spec import write_options

if TYPE_CHECKING:
    from collections.abc import Iterable

    from upbeat.collaboration.terms import StepOptions
    from upbeat.v1 import task_spec_pb2

Value = TypeVar("Value")


class _Absent:
    """No input: None is one."""


ABSENT = _Absent()


class Step(Generic[In, Out]):
    """A kind of work as a step; make it with `step`."""

    __slots__ = ("has_input", "kind", "message")

    def __init__(self, kind: Kind[In, Out], message: task_spec_pb2.TaskSpec) -> None:
        self.kind = kind
        self.message = message
        self.has_input = message.HasField("input")

    def __repr__(self) -> str:
        return f"step({self.kind!r}, name={self.message.name!r})"


AnyStep: TypeAlias = Kind[In, Out] | Step[In, Out]
"""What can be a step; a bare type can be one too."""


@overload
def step(kind: Kind[Value, Out], *, input: Value, **options: Unpack[StepOptions]) -> Step[Any, Out]: ...


@overload
def step(kind: Kind[In, Out], **options: Unpack[StepOptions]) -> Step[In, Out]: ...


@overload
def step(kind: str, *, input: Any = ..., **options: Unpack[StepOptions]) -> Step[Any, Any]: ...


def step(
    kind: Kind[Any, Any] | str,
    *,
    input: Any = ABSENT,  # noqa: A002 - the contract's name
    **options: Unpack[StepOptions],
) -> Step[Any, Any]:
    """A step with a name, an input of its own, limits or labels.

    With an `input` it is given that instead of what its place would give it.
    Priority and fairness are those of the collaboration. Raises CodecError for
    the input, TypeError or ValueError for an option.
    """
    made = Step(unbound(as_kind(kind)), unbound(as_kind(kind)).spec())
    message = made.message
    left: dict[str, Any] = dict(options)
    message.name = left.pop("name", "")
    timeout = left.pop("timeout", None)
    if timeout is not None:
        long_form = "total_timeout" if message.HasField("collaboration") else "attempt_timeout"
        if long_form in left:
            raise TypeError(f"timeout is short for {long_form}: give one of them")
        left[long_form] = timeout
    inherited = left.keys() & {"priority", "fairness_key", "fairness_weight", "dedup_key", "not_before_time"}
    if inherited:
        raise TypeError(f"{', '.join(sorted(inherited))}: a step has that of its collaboration; set it there")
    write_options(message, left)
    if input is not ABSENT:
        message.input.CopyFrom(made.kind.encode_input(input))
        made.has_input = True
    return made


def as_step(part: AnyStep[Any, Any] | str) -> Step[Any, Any]:
    """A kind or a bare type as a step without anything of its own; raises TypeError."""
    if isinstance(part, Step):
        return part
    if not isinstance(part, str | Kind):
        raise TypeError(
            f"{part!r} is no step: give a Skill, a type, a collaboration or step(...); "
            "a single input goes to step(SKILL, input=...)"
        )
    kind = unbound(as_kind(part))
    return Step(kind, kind.spec())


def unbound(kind: Kind[Any, Any]) -> Kind[Any, Any]:
    """A collaboration that a client made, without the client."""
    return kind.kind if isinstance(kind, Bound) else kind


def receiver(steps: Iterable[Step[Any, Any]]) -> Kind[Any, Any]:
    """The first kind that is given the collaboration's input, which is encoded as its own."""
    return next((each.kind for each in steps if not each.has_input), as_kind("any"))


def alike(kinds: Iterable[Kind[Any, Any]]) -> Kind[Any, Any]:
    """The kind that reads the output of all of them: the first if they have one type, else any."""
    first, *others = kinds
    if all(each is first or _output(each) == _output(first) is not None for each in others):
        return first
    return as_kind("any")


def _output(kind: Kind[Any, Any]) -> Any:
    return getattr(kind, "output", None)
